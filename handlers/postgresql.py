"""PostgreSQL: what the system can do. How it is read and written is in guard/target/postgresql."""

from guard.core.model import Restore
from handlers.base import Traits

CHUNK_RECORDS = 2000
"""Rows read, snapshot and written by one statement each: beyond this, larger chunks gain no speed, only memory."""

IMPLIED_MAX = 100_000
"""Rows that foreign keys may delete or change along with one chunk; they are snapshot in one piece."""

TRAITS = Traits(
    read_max=CHUNK_RECORDS,
    write_max=CHUNK_RECORDS,
    # RETURNING shows the row as it is after the write; where triggers run after that, the rows are read again.
    answer_carries_image=True,
    # Row locks are held from the reading to the commit.
    isolated=True,
    restore_deleted=Restore.SAME_ID,
    # A database tells no rate; one connection per operation is the bound.
    limits=None,
    limit_headers=None,
)

ACTIONS = ("create", "update", "upsert", "delete")

SIDE_EFFECTS = (
    "Triggers of the tables ran: what they wrote to other tables, sent (NOTIFY) or called is not taken back. "
    "Sequences do not go back; logical replication and change feeds saw both the run and its undo."
)

SESSION = {
    # Every value travels as PostgreSQL's own text, so whatever shapes that text is pinned.
    # https://www.postgresql.org/docs/current/runtime-config-client.html
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "xmloption": "content",
    "client_encoding": "UTF8",
    "application_name": "guard",
    "default_transaction_isolation": "read committed",
}
"""Settings of every session. READ COMMITTED is enough: rows are locked before they are read (a row that another
transaction changed meanwhile is read as that one left it), and the lock on a parent keeps others from adding
children to it (their foreign key check wants FOR KEY SHARE, which FOR UPDATE excludes)."""
