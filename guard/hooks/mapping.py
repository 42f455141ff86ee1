"""From a webhook's payload to the records of an operation, as its scenario file says. No I/O; called in a thread."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from guard.core.errors import Refused
from guard.core.limits import KEY_CHARS_MAX, RECORD_BYTES_MAX
from guard.hooks.expressions import Budget, CannotLookUp, Expression, kind
from guard.hooks.model import Hook, Shape

Record = Mapping[str, Any]

MAY_LACK_AN_ID = ("create", "upsert")


def mapped(hook: Hook, payload: Any, budget: Budget | None = None) -> tuple[list[Record], str]:
    """The records, each checked to be JSON, and the run key, "" where the file looks for none.

    Raises Refused: payload_mismatch with the expression's place in the file, what it gave and for which record;
    too_large.
    """
    budget = budget or Budget()
    run_key = _run_key(hook, payload, budget)
    items = _items(hook, payload, budget)
    shared = dict(_filled(hook.shared, payload, budget, ("shared",), None))
    return [_record(hook, item, shared, budget, number) for number, item in enumerate(items, 1)], run_key


def _run_key(hook: Hook, payload: Any, budget: Budget) -> str:
    if hook.run_key is None:
        return ""
    found = _looked_up(hook.run_key, payload, budget, ("run_key",), None)
    if isinstance(found, bool) or not isinstance(found, str | int) or not str(found).strip():
        raise _mismatch(hook.run_key, ("run_key",), None, f"gives {kind(found)}, not a text or a number", found)
    key = str(found).strip()
    if len(key) > KEY_CHARS_MAX or not key.isprintable():
        said = f"gives a text that is not printable or has more than {KEY_CHARS_MAX} characters"
        raise _mismatch(hook.run_key, ("run_key",), None, said, found)
    return key


def _items(hook: Hook, payload: Any, budget: Budget) -> list[Any]:
    found = _looked_up(hook.records, payload, budget, ("records",), None)
    items = [found] if isinstance(found, dict) else found
    if not isinstance(items, list):
        raise _mismatch(hook.records, ("records",), None, f"gives {kind(found)}, not a list of records", found)
    if not items:
        raise _mismatch(hook.records, ("records",), None, "gives an empty list, so there is nothing to do", found)
    if len(items) > hook.records_max:
        detail = f"The payload has {len(items)} records; this hook takes {hook.records_max} in one call"
        raise Refused("too_large", f"{detail} (records_max in its scenario file). Nothing was written.")
    return items


def _record(hook: Hook, item: Any, shared: Record, budget: Budget, number: int) -> Record:
    if hook.record:
        record = _merged(dict(_filled(hook.record, item, budget, ("record",), number)), shared)
        _refuse_empty(hook, record, number)
    elif isinstance(item, dict):
        record = item
    else:
        raise _mismatch(hook.records, ("records",), number, f"gives {kind(item)}, not an object", item)
    _refuse_what_json_does_not_carry(record, number)
    return record


def _filled(shape: Shape, value: Any, budget: Budget, path: tuple[str, ...], number: int | None) -> Iterator[Any]:
    """The members that were found: what is null or missing in the payload is no member of the record."""
    for name, part in shape.items():
        if isinstance(part, dict):
            if inner := dict(_filled(part, value, budget, (*path, name), number)):
                yield name, inner
        elif (found := _looked_up(part, value, budget, (*path, name), number)) is not None:
            yield name, found


def _refuse_empty(hook: Hook, record: Record, number: int) -> None:
    """An expression that never finds anything is a mistake; a field that one record does not have is none."""
    for name, part in {**hook.shared, **hook.record}.items():
        if name in record or (name == "id" and hook.action in MAY_LACK_AN_ID):
            continue
        where = "record" if name in hook.record else "shared"
        if isinstance(part, dict):
            detail = f"Record {number}: no expression of [{where}.{name}] finds anything in the payload."
            member = f"{where}.{name}"
            raise Refused("payload_mismatch", f"{detail} {_ADVICE}", record=number, member=member, gave="nothing")
        raise _mismatch(part, (where, name), number if name in hook.record else None, "finds nothing", None)


def _merged(one: Record, two: Record) -> dict[str, Any]:
    merged = {**one, **two}
    for name in one.keys() & two.keys():
        if isinstance(one[name], dict) and isinstance(two[name], dict):
            merged[name] = _merged(one[name], two[name])
    return merged


def _refuse_what_json_does_not_carry(record: Record, number: int) -> None:
    """What functions make may be no JSON: numbers without end, expressions, too deep, too large."""
    try:
        content = orjson.dumps(record)
        is_kept = orjson.loads(content) == record
    except (TypeError, ValueError, RecursionError):
        content, is_kept = b"", False
    if not is_kept:
        detail = f"Record {number}: it holds something that JSON does not carry as it is (a number too large, or none)."
        raise Refused("payload_mismatch", f"{detail} {_ADVICE}", record=number)
    if len(content) > RECORD_BYTES_MAX:
        detail = f"Record {number} is larger than {RECORD_BYTES_MAX // 1024} KiB. Nothing was written."
        raise Refused("too_large", detail, record=number)


def _looked_up(expression: Expression, value: Any, budget: Budget, path: tuple[str, ...], number: int | None) -> Any:
    try:
        return expression.look_up(value, budget)
    except CannotLookUp as error:
        raise _mismatch(expression, path, number, f"cannot be looked up: {error}", None, gave="an error") from None


_ADVICE = "Nothing was written. Correct the payload, or the scenario file; guard scenarios check tries it on a sample."


def _mismatch(
    expression: Expression, path: tuple[str, ...], number: int | None, said: str, found: Any, *, gave: str = ""
) -> Refused:
    member = ".".join(path)
    record = {} if number is None else {"record": number}
    who = "" if number is None else f"Record {number}: "
    detail = f"{who}{member}, the expression {expression.text!r}, {said}. {_ADVICE}"
    return Refused(
        "payload_mismatch", detail, member=member, expression=expression.text, gave=gave or kind(found), **record
    )
