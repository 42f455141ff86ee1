"""Every limit of Guard in one place (I9). Units are in the names; settings may lower or raise those marked so."""

ANSWER_RECORDS_MAX = 100
"""Failures and conflicts listed in one answer; the rest is paged at run_url."""

PAGE_RECORDS_MAX = 1000
"""Records of one page of /changes or of a revert plan."""

CHUNK_RECORDS_MIN = 100
"""Records read, snapshot and written together where the vendor's own batches are smaller."""

CHUNKS_IN_FLIGHT_MAX = 4
"""Chunks of one operation that overlap: enough to keep a vendor's connections busy while entries are stored."""

INLINE_BYTES_MAX = 24 * 1024
"""Compressed images up to this size ride inside the entry; larger ones are objects of their own."""

ENTRY_EVENTS_MAX = 256
"""Events grouped into one entry."""

OBJECT_BYTES_MAX = 64 * 1024 * 1024
"""No object of ours is larger; a larger one when decompressed is refused as corrupt."""

PASS_BYTES_MAX = 6 * 1024 * 1024
"""Pass-through write bodies: they are kept in memory, since they are forwarded as they came."""

RECORD_BYTES_MAX = 1024 * 1024
"""One record of a bulk operation."""

RECORDS_MAX = 1_000_000
"""Records of one bulk operation."""

REPLY_BYTES_MAX = 32 * 1024 * 1024
"""A vendor's answer that Guard must understand."""

REQUESTS_MAX = 200
"""Requests at once; the next ones stand in line."""

LINE_MAX = 2000
"""Requests in line, with nothing of them read; the next one gets 503."""

LINE_S = 20.0
"""Longest stand in line before the 503, unless the caller says that it waits longer: most tools give up at 30 s."""

RUNS_MAX = REQUESTS_MAX + 200
"""Runs and reverts that one process works at: those of the requests at once, and others that nobody waits for."""

STREAMS_MAX = 50
"""Of the requests at once, those that watch a run's progress."""

BODY_PAUSE_MAX_S = 30.0
"""Longest pause between two parts of a body."""

KEY_CHARS_MAX = 255
"""Idempotency-Key and Guard-Run-Key."""

STANDING_LOOK_S = 900.0
"""How often the sweeper looks at a run in which nothing but a checkpoint is open: it may stand for weeks."""

CLOCK_SKEW_S = 2.0
"""How far a vendor's clock may be from ours when a created record is recognised by its age. Small: beyond it the
record stays in doubt and is reported, while a larger one might take somebody else's record for ours."""

DEFINITIONS_S = 600.0
"""How long a vendor's definitions of a resource's fields are used before they are read anew."""

DEFINITIONS_AGAIN_S = 5.0
"""Definitions that are in doubt are not read anew within this time: a misspelt field must not cost a call each time."""

SUBSCRIPTIONS_MAX = 50
"""Subscriptions of one client at a time."""

SUBSCRIPTIONS_S = 10.0
"""How old a process's list of subscriptions may be: what another copy of Guard was told is known after this time."""

IDLE_JOURNALS_MAX = 64
"""Folded journals that a process remembers besides those in use."""

JSON_BYTES_MAX = 16 * 1024 * 1024
"""JSON bodies are parsed as a whole; larger operations come as NDJSON or CSV, which are read line by line."""

WAIT_S = 25.0
"""How long a caller waits for a long run by default: Zapier and Make give up after 30 to 40 s."""

WAIT_MAX_S = 300.0

SPOOL_RECORDS_MAX = 2000
SPOOL_BYTES_MAX = 4 * 1024 * 1024
"""Records of one object in which accepted operations are kept until they are driven."""

WORKERS_MAX = 8
"""Queued operations that one process drives at once, each for another target."""

CALLS_MAX = 8
"""Attempts to deliver one callback or notification; then it is given up."""

QUEUE_JOBS_MAX = 1000
"""Jobs that wait in the queue or are being driven; more are refused, so that no caller waits for days."""

QUEUE_LEASE_S = 60.0
"""How long a job is nobody else's after it was taken or its lease renewed."""

QUEUE_TAKES_MAX = 5
"""A job that was taken so often and never got done is set aside (SQS: the queue's maxReceiveCount)."""

HOOK_BYTES_MAX = 10 * 1024 * 1024
"""A hook's payload: what Zapier lets its own webhooks have, and far above what people map."""

HOOK_FILE_BYTES_MAX = 64 * 1024
"""A scenario file."""

HOOK_EXPRESSION_CHARS_MAX = 2000
HOOK_STEPS_MAX = 5_000_000
"""What looking up all expressions of one payload may cost: visits, and members of what is made. Some ten seconds."""

HOOKS_MAPPED_MAX = 2
"""Payloads that are parsed and looked up at once: each may fill some 100 MiB, and keep a processor busy."""

HOOK_TEXT_CHARS_MAX = 1024 * 1024
"""A text that a JMESPath function makes."""

HOOK_LOOK_S = 2.0
"""Pause between two looks at the folder of scenario files; a hook's own file is read whenever it is called, too."""

SIGNED_WITHIN_S = 300
"""How far the time of a signed webhook may be from ours (Standard Webhooks' own tolerance)."""

SIGNATURES_MAX = 20
"""Signatures that are looked at in one webhook."""

PLANS_KEPT_MAX = 4
PLANS_KEPT_S = 60.0
"""Plans of reverts that a process keeps for whoever pages through them, and for how long after they were last used."""

PAGE_READ_S = 0.6
"""How long a page for people waits for what the records hold now, before it shows the rest without it."""

PAGE_CHECK_S = 2.0
"""How long the page that asks for the last word waits for all records to be judged."""

RUNS_LOOKED_THROUGH_MAX = 20
RECORDS_LOOKED_THROUGH_MAX = 20_000
"""Later runs, and records of theirs, in which somebody who changed a record since is looked for."""

VALUE_CHARS = 300
VALUE_CHARS_MAX = 2000
"""Characters of a value that a page shows at once, and when asked for more."""

SESSION_S = 12 * 3600
"""How long somebody stays signed in to the pages."""

WRONG_KEYS_AT_ONCE_MAX = 10
WRONG_KEY_S = 1.0
"""Wrong keys whose senders wait for the answer at one time, and for how long; more are turned away unread."""
