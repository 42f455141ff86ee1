"""Why a record was not written, or not for certain, in the same words everywhere."""

from guard.core.model import Failure

MISSING = Failure("not_found", "The target has no record with this id; nothing was written.")
TWICE = Failure("duplicate_record", "Another record of this operation is the same one; this one was not written.")
NOT_SENT = Failure("not_sent", "The target could not be reached; nothing was written.")
STOPPED = Failure("not_sent", "It was stopped before this was sent; nothing was written.")
NO_ANSWER = Failure("no_answer", "The target's answer was lost; it may have been written.")
NO_CALL = Failure("not_writable", "The target has no call that writes this.")
NOT_SHOWN = Failure("not_shown", "The target answered that it was done, and does not show it. A revert looks again.")
PARTLY = Failure("partly_applied", "The target wrote only a part of it.")
