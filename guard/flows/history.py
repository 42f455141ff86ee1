"""What a run did, read from its journal: record by record, and as the flat answer that callers get."""

from collections.abc import AsyncIterator, Awaitable
from datetime import datetime
from typing import Any, TypeVar

from msgspec import Struct

from guard.core.bracket import NOT_SEALED
from guard.core.bracket import told as told_between
from guard.core.errors import InDoubt, Unavailable
from guard.core.lifecycle import ChunkState, OperationState, RunState
from guard.core.limits import ANSWER_RECORDS_MAX
from guard.core.model import Failure, Outcome, Status, Touched
from guard.flows.guard import Guard
from guard.store.journal import Journal

T = TypeVar("T")

_ROLLED_BACK = Failure("rolled_back", "The operation was undone as a whole; nothing was written.")
_NOT_TOLD = Failure("no_answer", "The outcome was not known when this was told. A revert finds out by reading.")


class Recorded(Struct, gc=False, frozen=True):
    """One record of a run: what was to happen to it, what it held, what came of it."""

    op: str
    position: int
    """Among all records of the run, from 0."""
    touched: Touched
    outcome: Outcome
    since: tuple[int, int]
    """Where in the journal its pre-image stands: entry and event. An earlier one was read earlier."""
    until: tuple[int, int] | None
    """Of a bracket, where its post-image stands; far away while there is none. None: it is not a bracket's."""


async def recorded(journal: Journal, state: RunState, *, skip: int = 0) -> AsyncIterator[Recorded]:
    """Every announced record of a run, in the order of its operations. Chunks that are skipped are not read."""
    async for records in recorded_chunks(journal, state, skip=skip):
        for record in records:
            yield record


async def recorded_chunks(journal: Journal, state: RunState, *, skip: int = 0) -> AsyncIterator[list[Recorded]]:
    """The same, a chunk's at a time."""
    position = 0
    for op, operation in state.operations.items():
        for _, chunk in sorted(operation.chunks.items()):
            size = chunk.records + chunk.implied
            if chunk.phase != "none" and position + size > skip:
                found = enumerate(await chunk_records(journal, chunk), position)
                since, until = chunk.began.at, _until(chunk) if operation.is_bracket else None
                yield [Recorded(op, at, touched, o, since, until) for at, (touched, o) in found if at >= skip]
            position += size


def _until(chunk: ChunkState) -> tuple[int, int]:
    return chunk.lines["sealed"].at if "sealed" in chunk.lines else _NOT_YET


_NOT_YET = (2**62, 0)


async def chunk_records(journal: Journal, chunk: ChunkState) -> list[tuple[Touched, Outcome]]:
    """A chunk's records with what is known of their outcomes by now."""
    touched = await journal.lines(chunk.began, Touched)
    if "watched" in chunk.lines:
        return await _between(journal, chunk, touched)
    if chunk.rolled_back:
        return [(each, Outcome(status=Status.FAILED, failure=_ROLLED_BACK)) for each in touched]
    name = next((name for name in ("sealed", "settled", "written") if name in chunk.lines), None)
    if name is None:
        return [(each, _untold(each)) for each in touched]
    outcomes = await journal.lines(chunk.lines[name], Outcome)
    return list(zip(touched, outcomes, strict=True))


async def _between(journal: Journal, chunk: ChunkState, touched: list[Touched]) -> list[tuple[Touched, Outcome]]:
    """A bracket's records, each with the change that the seal found."""
    if "sealed" not in chunk.lines:
        not_known = Outcome(status=Status.UNKNOWN, failure=NOT_SEALED)
        return [(each, not_known) for each in touched]
    outcomes = await journal.lines(chunk.lines["sealed"], Outcome)
    return [(told_between(each, outcome), outcome) for each, outcome in zip(touched, outcomes, strict=True)]


def _untold(touched: Touched) -> Outcome:
    if touched.problem:
        return Outcome(status=Status.FAILED, failure=touched.problem)
    return Outcome(status=Status.UNKNOWN, failure=_NOT_TOLD)


async def answer(guard: Guard, run: str, op: str | None = None) -> dict[str, Any]:
    """The flat object of docs/design.md for an operation, or for a run with all its operations."""
    with guard.journals.use(run) as journal:
        state = await journal.catch_up()
        operations = [state.operations[op]] if op else list(state.operations.values())
        of_one = {"operation": op} if op else {}
        return summary(guard, state, operations) | of_one | {"failures": await failures(guard, journal, operations)}


async def told(guard: Guard, run: str, telling: Awaitable[T]) -> T:
    """What can be told of something that was begun. Raises InDoubt where the store cannot be read for it now:
    to call it unavailable would say that nothing was written."""
    try:
        return await telling
    except Unavailable as error:
        raise InDoubt(
            "in_doubt",
            "It was begun, and the snapshot store cannot be read now to tell how far it has come. "
            "Ask for the run again later; do not send the request again.",
            run=run,
            run_url=guard.run_url(run),
        ) from error


def summary(guard: Guard, state: RunState, operations: list[OperationState]) -> dict[str, Any]:
    """Numbers and addresses of a run. Revert runs count what they took back, others what they applied."""
    revert = state.opened.get("kind") == "revert"
    ended = [operation.ended for operation in operations if operation.ended]
    # While an operation goes on, what is known of it is what was known when it began.
    latest = [operation.ended or operation.begun for operation in operations]
    levels = [str(event.get("reversible", "full")) for event in latest]
    problem = next((event["problem"] for event in ended if "problem" in event), None)
    expires_at = guard.revert_expires_at(state)
    return {
        "id": state.run,
        "kind": "revert" if revert else "run",
        "status": state.status if state.reverts or len(operations) > 1 else _status(operations),
        "target": _common(operation.target for operation in operations),
        "resource": _common(operation.begun.get("resource") for operation in operations),
        "action": _common(operation.begun.get("action") for operation in operations),
        "scenario": state.opened.get("scenario"),
        "note": state.opened.get("note"),
        "client": state.opened.get("client"),
        "opened_at": _iso(state.opened_at),
        **_numbers(operations, guard.now()),
        **_bracket(guard, state, operations),
        "reversible": max(levels, key=("full", "partial", "none").index, default="full"),
        "reversible_reasons": sorted({reason for event in latest for reason in event.get("reasons", [])}),
        "revert_url": guard.revert_url(state),
        "revert_expires_at": _iso(expires_at),
        "run_url": guard.run_url(state.run),
        **({"reverts": state.opened["of"]} if revert else {}),
        **({"reverted_by": list(state.reverts)[-1]} if state.reverts else {}),
        **({"problem_code": problem["code"], "problem": problem["detail"]} if problem else {}),
    }


def _numbers(operations: list[OperationState], now: datetime) -> dict[str, int]:
    on_their_way = sum(operation.unsettled() for operation in operations if _goes_on(operation, now))
    unsettled = sum(operation.unsettled() for operation in operations)
    applied, failed, unknown = (
        sum(operation.count(name) for operation in operations) for name in ("applied", "failed", "unknown")
    )
    begun = sum(operation.begun.get("records") or 0 for operation in operations)
    unchanged = sum(operation.count("unchanged") for operation in operations)
    total = max(begun, applied + failed + unknown + unsettled + unchanged)
    running = any(operation.phase != "ended" for operation in operations)
    return {
        "records_total": total,
        "records_applied": applied,
        # Of a running operation, what has not come yet is no failure.
        "records_failed": failed if running else total - applied - unknown - unsettled - unchanged,
        "records_in_doubt": unknown + unsettled - on_their_way,
        "records_implied": sum(operation.implied() for operation in operations),
        **_verdicts(operations),
    }


def _bracket(guard: Guard, state: RunState, operations: list[OperationState]) -> dict[str, Any]:
    """How far the brackets among the operations have come, and where they are sealed."""
    brackets = [operation for operation in operations if operation.is_bracket]
    if not brackets:
        return {}
    return {
        "records_unchanged": sum(operation.count("unchanged") for operation in brackets),
        "records_absent": sum(operation.count("absent") for operation in brackets),
        "checkpoint": min((_stage(operation) for operation in brackets), key=_STAGES.index),
        "seal_url": f"{guard.run_url(state.run)}/seal",
    }


_STAGES = ("being_taken", "open", "being_sealed", "sealed", "given_up")


def _stage(operation: OperationState) -> str:
    if operation.phase == "ended":
        return "sealed" if operation.ended["status"] in ("applied", "partial") else "given_up"
    if operation.phase == "standing":
        return "open"
    return "being_sealed" if operation.stood else "being_taken"


def _goes_on(operation: OperationState, now: datetime) -> bool:
    """Is somebody driving it? Then what was sent and has not come back is no doubt yet."""
    return operation.phase == "open" and not operation.is_expired(now)


def _verdicts(operations: list[OperationState]) -> dict[str, int]:
    """The numbers of a revert, as its operations ended with them."""
    found = [operation.ended["verdicts"] for operation in operations if "verdicts" in operation.ended]
    names = dict.fromkeys(name for verdicts in found for name in verdicts)
    return {f"records_{name}": sum(verdicts[name] for verdicts in found) for name in names}


def _status(operations: list[OperationState]) -> str:
    if not operations:  # a revert that found nothing to do
        return "applied"
    (operation,) = operations
    return str(operation.ended["status"]) if operation.ended else "running"


async def failures(guard: Guard, journal: Journal, operations: list[OperationState]) -> list[dict[str, Any]]:
    """Records that were not written or are in doubt, up to a number; only chunks that have such are read."""
    found: list[dict[str, Any]] = []
    for operation in operations:
        for _, chunk in sorted(operation.chunks.items()):
            if len(found) >= ANSWER_RECORDS_MAX:
                return found[:ANSWER_RECORDS_MAX]
            if _has_failures(chunk, goes_on=_goes_on(operation, guard.now())):
                found += [failure_item(t, o) for t, o in await chunk_records(journal, chunk) if o.failure]
    return found[:ANSWER_RECORDS_MAX]


def _has_failures(chunk: ChunkState, *, goes_on: bool) -> bool:
    # A revert's chunk of which nothing had to be written stays at "none".
    # Nothing was sent of a bracket's.
    settled = chunk.phase in ("none", "settled", "sealed", "watched")
    return not (settled or goes_on) or any(chunk.counts.get(name) for name in ("failed", "unknown", "noted"))


def failure_item(touched: Touched, outcome: Outcome) -> dict[str, Any]:
    failure = outcome.failure or _NOT_TOLD
    return {
        "id": outcome.id or touched.change.id,
        "resource": touched.change.resource,
        "status": outcome.status.value,
        "code": failure.code,
        "message": failure.message,
    }


def _common(values: Any) -> str | None:
    """The one value all have; None where they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None
