"""What PostgreSQL's errors let the caller conclude: one place, by SQLSTATE.

https://www.postgresql.org/docs/current/errcodes-appendix.html
The server's own messages hold records' contents (I10), so none is passed on, not even as an exception's cause: only
names of tables, columns and constraints are.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from guard.core.errors import GuardError, Refused, Unavailable

UNIQUE_VIOLATION = "23505"
_LOST = ("08", "57P")
"""Connection exceptions and shutdowns: what was under way may have been done or not."""


def sqlstate(error: BaseException) -> str:
    """The server's code; empty: no answer came (the connection broke, or a wait ran out)."""
    return getattr(_driver_error(error), "sqlstate", None) or ""


def constraint(error: BaseException) -> str:
    return getattr(_driver_error(error), "constraint_name", None) or ""


def answered(error: BaseException) -> bool:
    """The server itself said no, so that the transaction is certainly rolled back."""
    code = sqlstate(error)
    return bool(code) and not code.startswith(_LOST)


@contextmanager
def understood(target: str) -> Iterator[None]:
    """Errors of the driver become Refused or Unavailable. The transaction they stand in writes nothing any more."""
    try:
        yield
    except PoolTimeoutError:
        raise Unavailable(
            "overloaded", f"All connections to {target} are in use. Nothing was written; try again later."
        ) from None
    except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise concluded(target, error) from None


def concluded(target: str, error: BaseException) -> GuardError:
    """The error to raise for one of the driver's that came before the commit."""
    if told := refusal(target, error):
        return Refused("invalid_record", f"{told} Nothing was written; mend the records and send them again.")
    code, where = sqlstate(error), _where(_driver_error(error))
    match code[:2], code:
        case _, "55P03" | "57014":
            detail = f"A row is locked by another transaction of {target}, or the statement took too long."
        case _, "40P01" | "40001":
            detail = f"Another transaction of {target} stood in the way."
        case ("28" | "3D", _) | (_, "42501"):
            return Unavailable(
                "target_refused",
                f"{target} does not let Guard's role do this{where}. Nothing was written. "
                "Grant it SELECT, UPDATE and what the action needs, or renew the credential.",
            )
        case _, "428C9":
            return Refused("unknown_field", f"{target} computes a column by itself{where}. Nothing was written.")
        case _, "42883":
            return Refused("invalid_request", f"A column of this type cannot be compared{where}. Nothing was written.")
        case _, "42P01" | "42703" | "0A000":
            detail = f"A table of {target} was changed while it was in use."
        case _:
            detail = f"{target} cannot be used ({code or 'no answer'})."
    return Unavailable("target_unavailable", f"{detail} Nothing was written; try again.")


def refusal(target: str, error: BaseException) -> str | None:
    """Why the database refuses a record for what it holds, in a sentence; None: that is not what went wrong."""
    code, driver = sqlstate(error), _driver_error(error)
    where = _where(driver)
    match code[:2]:
        case "22" | "54":
            return f"A value does not fit its column{_type(driver)}{where}."
        case "23":
            return f"{_VIOLATED.get(code, 'A constraint is violated')}{where}."
        case "P0" | "44" | "27":
            return f"A trigger or a rule of {target} refused a record{where}."
        case _:
            return None


_VIOLATED = {
    "23502": "A column that must have a value has none",
    "23503": "A record refers to one that does not exist, or is referred to by one that would remain",
    UNIQUE_VIOLATION: "A value that must be unique is there already",
    "23514": "A check constraint is violated",
    "23P01": "An exclusion constraint is violated",
}


def _where(error: BaseException | None) -> str:
    """Names from the error's fields: table, column, constraint; never a value."""
    found = [(word, getattr(error, f"{word}_name", None)) for word in ("table", "column", "constraint")]
    named = ", ".join(f"{word} {name}" for word, name in found if name)
    return f" ({named})" if named else ""


def _type(error: BaseException | None) -> str:
    """The type's name, which is all that is taken from the message; a value stands between quotes."""
    found = re.match(
        r'invalid input syntax for type ([\w ]+)(:|$)|value ".*" is out of range for type ([\w ]+)$', str(error)
    )
    return f" of type {found[1] or found[3]}" if found else ""


def _driver_error(error: BaseException | None) -> BaseException | None:
    """asyncpg's own exception: SQLAlchemy wraps it twice."""
    if isinstance(error, DBAPIError):
        return _driver_error(error.orig)
    if error is not None and not isinstance(error, asyncpg.PostgresError) and error.__cause__ is not None:
        return error.__cause__
    return error
