"""Errors, split by what the caller may conclude.

    GuardError
    ├── Refused      nothing was written; the request must be mended
    ├── Unavailable  nothing was written; the same request may be tried again
    ├── InDoubt      something may have been written; carries the run, whose revert URL settles it
    ├── Conflict     nothing was written by this call; another one stands in its way
    └── Corrupt      what is stored is not what was stored: nothing is done on such a ground

Every error is answered as RFC 9457 problem details with a stable code from CODES; docs/errors.md explains each.
"""

from dataclasses import dataclass
from typing import Any, Literal

Written = Literal["nothing", "unknown", "some"]


@dataclass(frozen=True, slots=True)
class Code:
    status: int
    title: str


CODES: dict[str, Code] = {
    # Refused
    "unauthenticated": Code(401, "No valid client key or signature"),
    "forbidden": Code(403, "This key may not use this target"),
    "not_found": Code(404, "There is no such thing here"),
    "method_not_allowed": Code(405, "This address does not take this method"),
    "unknown_target": Code(404, "There is no such target"),
    "unknown_resource": Code(422, "The target has no such resource"),
    "unknown_action": Code(422, "The resource has no such action"),
    "unknown_field": Code(422, "The resource has no such writable field"),
    "unknown_route": Code(422, "Guard does not know this write"),
    "invalid_request": Code(422, "The request does not say what to do"),
    "invalid_record": Code(422, "A record is not usable"),
    "payload_mismatch": Code(422, "The payload does not fit the scenario file"),
    "duplicate_record": Code(422, "The same record stands twice in the operation"),
    "invalid_body": Code(400, "The body cannot be read"),
    "invalid_path": Code(400, "The path is not one of the target's"),
    "too_large": Code(413, "Too large"),
    "unsupported_media_type": Code(415, "Unknown content type"),
    "forbidden_callback": Code(422, "Guard may not call this address"),
    "too_many_subscriptions": Code(422, "No more subscriptions for this client"),
    "irreversible": Code(422, "This cannot be taken back"),
    "operation_failed": Code(422, "No record was written"),
    "invalid_token": Code(404, "This revert URL is not valid"),
    "expired_token": Code(410, "This revert URL has expired"),
    "revoked_token": Code(410, "This revert URL was revoked"),
    # Conflict
    "key_reused": Code(409, "The key was used for another request"),
    "run_closed": Code(409, "The run takes no more operations"),
    "busy": Code(409, "Another revert of this run is going on"),
    "conflicts": Code(409, "Records were changed since, and on_conflict is abort"),
    # Unavailable
    "store_unavailable": Code(503, "The snapshot store cannot be used"),
    "target_unavailable": Code(503, "The target cannot be read"),
    "target_refused": Code(502, "The target refused Guard"),
    "hook_broken": Code(503, "The hook's scenario file cannot be used"),
    "overloaded": Code(503, "Too much at once"),
    # InDoubt
    "in_doubt": Code(504, "The outcome is not known"),
    # Corrupt
    "corrupt": Code(500, "Stored data is damaged"),
    "internal": Code(500, "Guard failed"),
}


class GuardError(Exception):
    """`detail` is a sentence for the user; `members` are further members of the problem object."""

    written: Written = "nothing"

    def __init__(self, code: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.members = members

    @property
    def status(self) -> int:
        return CODES[self.code].status

    def problem(self) -> dict[str, Any]:
        """The RFC 9457 object, flat."""
        return {
            "type": f"urn:guard:error:{self.code}",
            "title": CODES[self.code].title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "written": self.written,
            **self.members,
        }


class Refused(GuardError):
    pass


class Unavailable(GuardError):
    pass


class InDoubt(GuardError):
    written: Written = "unknown"


class Conflict(GuardError):
    pass


class Corrupt(GuardError):
    written: Written = "unknown"
