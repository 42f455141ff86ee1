"""The doors through which records are written, or watched while others write them."""

from guard.web.api.answers import CheckpointDryRun, DryRun, Run
from guard.web.api.door import CSV, JSON, KEY, NDJSON, TEXT, Answer, Door
from guard.web.api.parts import GOES_ON, ONE_RUN, RUN, STORE, TARGET, WRITES, path_parameter
from guard.web.checkpoints import CheckpointModel
from guard.web.operations import OperationModel

WRITING: list[Door] = [
    Door(
        methods=["POST"],
        path="/v1/operations",
        name="operations",
        tag="Writing",
        summary="Write many records",
        description=(
            "The records are in a JSON body beside the other members; or they are an NDJSON or CSV body, and the other "
            "members are in the query. All records are checked before the first is read or written."
        ),
        takes=["GuardRunKey", "IdempotencyKey", "WebhookId", "Prefer"],
        query=OperationModel,
        not_in_query=frozenset({"records", "filter", "fields"}),
        body={JSON: OperationModel, NDJSON: TEXT, CSV: TEXT},
        examples={
            JSON: {
                "target": "crm",
                "resource": "contacts",
                "action": "update",
                "scenario": "import",
                "records": [{"id": "80odnXVE9BAcgXuiNEr1", "fields": {"city": "Lisbon"}}],
            },
            NDJSON: '{"id": "80odnXVE9BAcgXuiNEr1", "fields": {"city": "Lisbon"}}\n',
            CSV: "id,city\n80odnXVE9BAcgXuiNEr1,Lisbon\n",
        },
        answers={
            200: Answer("It has ended; or, with `dry_run`, what it would be.", {JSON: (Run, DryRun)}),
            202: Answer(GOES_ON, {JSON: Run}, ["Location", "Retry-After"]),
        },
        codes=[*WRITES, "forbidden_callback"],
    ),
    Door(
        methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        path="/to/{target}/{path}",
        name="passing",
        tag="Writing",
        summary="Pass one of the vendor's own requests through",
        description=(
            "Behind the target's name stands the vendor's own path, slashes and all, with its own query and body. "
            "Reads pass untouched; writes that Guard knows are guarded, others are refused. The answer is the "
            "vendor's, whatever its status; where it is Guard's own, it is a problem object."
        ),
        takes=["GuardRunKey", "IdempotencyKey", "WebhookId", "DryRun", "AcceptIrreversible", "Scenario"],
        path_parameters=[
            path_parameter("target", "A target's name in the settings."),
            path_parameter("path", "The vendor's own path."),
        ],
        body={JSON: {}, "*/*": {}},
        body_required=False,
        answers={
            "default": Answer(
                "The vendor's answer, as it is.",
                {"*/*": {}},
                ["Guard-Run", "Guard-Operation", "Guard-Revert-Url", "Guard-Status"],
            )
        },
        codes=[*WRITES, "unknown_route", "invalid_path", "not_found", "method_not_allowed"],
        is_relayed=True,
    ),
    Door(
        methods=["POST"],
        path="/hooks/{name}",
        name="hook",
        tag="Writing",
        summary="Send a webhook's payload to a scenario file",
        description=(
            "A file in the folder of scenario files says which target it is for and how to find the records in the "
            "payload. A key that opens the target lets a call in; where the file names secrets, a signature does, and "
            "no key. Of a signed call `webhook-id` alone counts for telling repeats, and `Guard-Run-Key` is refused."
        ),
        takes=["GuardRunKey", "IdempotencyKey", "WebhookId", "WebhookTimestamp", "Prefer", "DryRun"],
        path_parameters=[path_parameter("name", "The scenario file's name, without `.toml`.")],
        body={JSON: {}},
        answers={
            200: Answer("It has ended; or, in a dry run, what it would be.", {JSON: (Run, DryRun)}),
            202: Answer(GOES_ON, {JSON: Run}, ["Location", "Retry-After"]),
        },
        codes=[*WRITES, "not_found", "payload_mismatch", "hook_broken"],
        security=[*KEY, "signature"],
    ),
    Door(
        methods=["POST"],
        path="/v1/checkpoints",
        name="checkpoints",
        tag="Writing",
        summary="Take a checkpoint of records that others will write",
        description=(
            "For steps that do not pass through Guard. Name the records by `ids` or by `filter`, not both. Write only "
            "after 200, then seal the run at `seal_url`, or call `revert_url`, which seals by itself."
        ),
        takes=["GuardRunKey", "IdempotencyKey", "WebhookId", "Prefer"],
        body={JSON: CheckpointModel},
        examples={JSON: {"target": "crm", "resource": "contacts", "ids": ["80odnXVE9BAcgXuiNEr1"]}},
        answers={
            200: Answer("It stands; or, with `dry_run`, what it would be.", {JSON: (Run, CheckpointDryRun)}),
            202: Answer(
                "It is still being taken: write nothing yet. `Location` tells where to look.",
                {JSON: Run},
                ["Location", "Retry-After"],
            ),
        },
        codes=[
            *STORE,
            *TARGET,
            *("forbidden", "invalid_request", "invalid_record", "invalid_body", "too_large", "unsupported_media_type"),
            *("key_reused", "run_closed", "in_doubt", "forbidden_callback"),
        ],
    ),
    Door(
        methods=["POST"],
        path="/v1/runs/{run}/seal",
        name="seal_run",
        tag="Writing",
        summary="Seal a run's checkpoints",
        description=(
            "Reads the records again and keeps what changed since. No body is needed. Again, it answers the same. "
            "Where the target cannot be read, the checkpoint stands, and may be sealed later."
        ),
        path_parameters=[RUN],
        takes=["Prefer"],
        answers={
            200: Answer("They are sealed; the numbers are theirs alone.", {JSON: Run}),
            202: Answer(GOES_ON, {JSON: Run}, ["Location", "Retry-After"]),
        },
        codes=[*ONE_RUN, *TARGET, "invalid_request", "run_closed", "expired_token", "in_doubt"],
    ),
]
