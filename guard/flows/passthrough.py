"""Pass-through: one of the vendor's own writes, guarded, forwarded in the caller's own bytes.

    read pre-images ∥ read the journal → snapshot and "sending" in one entry → forward → settled → answer
                                                                             → post-images → sealed, ended

What can happen after the answer happens after it; a repeat under the same key gets the stored answer.
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guard.core.entries import Event, pack
from guard.core.errors import CODES, InDoubt, Refused, Unavailable
from guard.core.lifecycle import Illegal
from guard.core.model import Change, Failure, Outcome, Status, Touched
from guard.flows.callback import heard
from guard.flows.guard import Guard
from guard.flows.lease import Lease
from guard.flows.operation import Asked, Screen, begin, ending, finish, identify
from guard.flows.passage import Passage, counts, journal_done
from guard.flows.settle import cut_off, ended
from guard.store.journal import Journal
from guard.target.base import MayWrite, Work
from guard.target.client import NoAnswer, NotSent
from guard.target.http import HttpTarget
from guard.tasks import all_to_the_end
from handlers.base import Reply

_CHUNK = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The vendor's answer as it goes back to the caller."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Forward = Callable[[MayWrite], Awaitable[tuple[Answer, Reply]]]
"""Sends the caller's bytes, if it still may when its turn has come.

Gives the answer as it came and as a handler reads it. Raises NotSent, NoAnswer.
"""


async def pass_through(
    guard: Guard, asked: Asked, target: HttpTarget, changes: Sequence[Change], forward: Forward
) -> tuple[str, str, Answer, asyncio.Task[None]]:
    """Guard one vendor write. Returns run, operation, the vendor's answer, and what goes on after it.

    Raises Refused, Unavailable, Conflict where nothing was sent; InDoubt where the answer was lost.
    """
    run, op = identify(guard, asked)
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    passing = _Passing(guard, asked, target, op, answered)
    task = guard.start(run, passing.carry_out(run, changes, forward))
    # The caller may hang up; what was begun goes on. It may also end before the answer is there: with an error.
    either: set[asyncio.Future[Any]] = {task, answered}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not answered.done():
        await task
    return run, passing.op, await answered, task


class _Passing:
    """One request on its way. Goes on to its end when the caller hangs up."""

    def __init__(
        self, guard: Guard, asked: Asked, target: HttpTarget, op: str, answered: asyncio.Future[Answer]
    ) -> None:
        self._guard = guard
        self._asked = asked
        self._target = target
        self.op = op
        self._answered = answered
        accept = asked.accept_irreversible or guard.policy(asked.target).accept_irreversible
        self._screen = Screen(target, accept=accept)

    async def carry_out(self, run: str, changes: Sequence[Change], forward: Forward) -> None:
        for change in changes:
            self._screen.refuse(change)
        with self._guard.journals.use(run) as journal:
            async with self._target.work() as work:
                touched, _ = await all_to_the_end(work.before(changes), self._catch_up(journal))
                while not await self._begin(journal, work, touched):
                    if not cut_off(await ended(self._guard, journal, self.op)):
                        await self._repeat(journal)
                        return
                try:
                    async with self._lease.kept():
                        await self._send(journal, work, touched, forward)
                except Illegal:
                    raise self._in_doubt(journal, "It took so long that it was taken over by another Guard.") from None
                finally:
                    self._guard.driven[(run, self.op)] -= 1
                    await finish(self._guard, journal, shared=self._asked.keyed)

    async def _catch_up(self, journal: Journal) -> None:
        """A run with a key may have been begun before; one without is new."""
        if self._asked.keyed:
            await journal.catch_up()

    async def _begin(self, journal: Journal, work: Work, touched: list[Touched]) -> bool:
        touched[:] = self._screen(touched)
        _refuse_unfit(touched)

        async def announce(op: str, events: list[Event]) -> None:
            self._lease = Lease(self._guard, journal, op)
            passage = Passage(journal, self._lease, self._target, work)
            await all_to_the_end(
                passage.announce(_CHUNK, touched, *events, **self._screen.told()),
                self._guard.journals.mark_open(journal.run),
            )

        self.op, first = await begin(self._guard, journal, self._asked, self.op, self._screen, announce)
        return first

    async def _repeat(self, journal: Journal) -> None:
        """Answer as the first one was answered, once it was."""
        operation = journal.state.operations[self.op]
        ref = operation.chunks[_CHUNK].lines.get("reply")
        if ref is None:
            raise self._in_doubt(journal, "This request was sent before, and its answer was lost.")
        (line,) = await journal.lines(ref, dict, "reply")
        self._answered.set_result(Answer(line["status"], b64decode(line["body"]), line["headers"]))

    async def _send(self, journal: Journal, work: Work, touched: Sequence[Touched], forward: Forward) -> None:
        changes = [each.change for each in touched]
        answer, lost = None, ""
        try:
            answer, reply = await forward(self._lease.may_write)
            outcomes = [
                outcome if each.problem is None else Outcome(status=Status.FAILED, failure=each.problem)
                for each, outcome in zip(touched, self._target.outcomes(touched, reply), strict=True)
            ]
        except NotSent as error:
            outcomes = [_without_answer(Status.FAILED, "not_sent", str(error))] * len(changes)
        except NoAnswer as error:
            lost = str(error)
            outcomes = [_without_answer(Status.UNKNOWN, "no_answer", lost)] * len(changes)
        if answer and not all(outcome.sealed or outcome.status is Status.FAILED for outcome in outcomes):
            # The caller need not wait for the reading back; that it happened must be known before it hears of it.
            await self._journal(journal, "settled", touched, outcomes, answer)
            self._answered.set_result(answer)
            answer = None
        outcomes = await work.after(touched, outcomes)
        await self._journal(journal, "sealed", touched, outcomes, answer)
        if answer:
            self._answered.set_result(answer)
        elif lost:
            raise self._in_doubt(journal, _lost(lost, outcomes))
        elif not self._answered.done():
            raise Unavailable("target_unavailable", f"{self._target.name} cannot be reached. Nothing was written.")

    async def _journal(
        self,
        journal: Journal,
        name: str,
        touched: Sequence[Touched],
        outcomes: Sequence[Outcome],
        answer: Answer | None,
    ) -> None:
        lines = [pack(outcomes)]
        known = counts(touched, outcomes)
        told = self._lease.event(name, chunk=_CHUNK, lines=lines[0].reference, **known)
        if answer and self._asked.keyed:
            lines.append(pack([_answer_line(answer)]))
            told["reply"] = lines[1].reference
        operation = journal.state.operations[self.op]
        closing = []
        if name == "sealed":
            ended = ending(operation, self._lease, self._screen, known)
            closing = [await heard(self._guard, journal.state, ended)]
        try:
            await journal_done(journal, lines, told, *closing)
        except InDoubt as error:
            raise self._in_doubt(journal, error.detail) from error

    def _in_doubt(self, journal: Journal, detail: str) -> InDoubt:
        url = self._guard.revert_url(journal.state)
        return InDoubt("in_doubt", detail, run=journal.run, revert_url=url, run_url=self._guard.run_url(journal.run))


def _refuse_unfit(touched: Sequence[Touched]) -> None:
    """One request cannot be sent in part. Where some of its records do not exist the vendor says so of each."""
    problems = [each.problem for each in touched if each.problem]
    serious = next((problem for problem in problems if problem.code != "not_found"), None)
    if serious is None and len(problems) == len(touched) and problems:
        serious = problems[0]
    if serious is not None:
        code = serious.code if serious.code in CODES else "invalid_record"
        raise Refused(code, serious.message)


def _lost(why: str, outcomes: Sequence[Outcome]) -> str:
    done = sum(outcome.status is Status.APPLIED for outcome in outcomes)
    undone = sum(outcome.status is Status.FAILED for outcome in outcomes)
    return (
        f"The request was sent and its answer was lost ({why}). Reading back shows {done} of {len(outcomes)} records "
        f"written, {undone} not written, {len(outcomes) - done - undone} not known. Do not send it again before "
        "looking at the run; the revert URL takes back what was written."
    )


def _without_answer(status: Status, code: str, message: str) -> Outcome:
    return Outcome(status=status, failure=Failure(code, message))


def _answer_line(answer: Answer) -> dict[str, object]:
    return {"status": answer.status, "headers": dict(answer.headers), "body": b64encode(answer.body).decode()}
