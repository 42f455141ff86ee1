"""What every flow works with: the journals, the targets and their policies, the keys, the clock."""

import asyncio
import math
from collections import Counter
from collections.abc import Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog

from guard.core.errors import Refused, Unavailable
from guard.core.lifecycle import RunState
from guard.core.limits import RUNS_MAX
from guard.core.tokens import sign, verify
from guard.flows.subscriptions import Subscriptions
from guard.metrics import Metrics
from guard.queue.base import Queue
from guard.queue.memory import MemoryQueue
from guard.settings import NotifySettings, Policy, Settings
from guard.store.journals import Journals
from guard.target.base import Target
from guard.target.callbacks import Callbacks

log = structlog.get_logger()

T = TypeVar("T")


class Guard:
    """One process's Guard. Holds no state of runs that is not in the store; what is here is what is going on."""

    def __init__(
        self,
        settings: Settings,
        journals: Journals,
        targets: Mapping[str, Target],
        queue: Queue | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.callbacks = Callbacks(settings.callbacks.signing_secret, settings.callbacks.allow)
        self.journals = journals
        self.subscriptions = Subscriptions(journals, settings.clients)
        self.targets = targets
        self.queue = queue or MemoryQueue()
        self.draining = asyncio.Event()
        """The process is about to end: no operation begins, and none begins a further chunk."""
        self.reverting: dict[str, tuple[object, asyncio.Task[str]]] = {}
        """Reverts under way in this process, by the run they take back: what was asked, and the task."""
        self.driven: Counter[tuple[str, str]] = Counter()
        """Operations, by run and id, that a task of this process drives."""
        self.telling: dict[str, asyncio.Task[None]] = {}
        """Runs of whose end somebody is being told at this moment, by this process."""
        self.watchers = 0
        """Callers that watch a run's progress."""
        self._going_on: dict[str, set[asyncio.Task[Any]]] = {}
        self._let_metrics_ask()

    def _let_metrics_ask(self) -> None:
        """Numbers that nobody keeps: they are looked up when they are asked for."""
        self.metrics.watchers.set_function(lambda: self.watchers)
        self.metrics.runs_in_hand.set_function(lambda: len(self._going_on))
        self.metrics.draining.set_function(self.draining.is_set)
        self.metrics.queue_jobs.set_function(lambda: math.nan if self.queue.jobs is None else self.queue.jobs)

    def target(self, name: str) -> Target:
        if name not in self.targets:
            raise Refused("unknown_target", f"There is no target {name!r}.")
        return self.targets[name]

    def policy(self, target: str) -> Policy:
        return self.settings.targets[target].policy

    def place(self, name: str) -> NotifySettings:
        """Where somebody is told of ends. Raises KeyError."""
        return {place.name: place for place in self.settings.notify}[name]

    @property
    def lease_s(self) -> int:
        return self.settings.server.lease_s

    def now(self) -> datetime:
        return self.journals.clock()

    # Work that outlives the request which began it

    def start(self, run: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run to the end, whether or not the caller waits: a write that was begun must be accounted for.

        Raises Unavailable where the process is about to end.
        """
        if self.draining.is_set() or len(self._going_on) >= RUNS_MAX:
            work.close()
            reason = "is shutting down" if self.draining.is_set() else f"has {RUNS_MAX} runs in hand"
            raise Unavailable("overloaded", f"This Guard {reason}. Nothing was written; send it again in a while.")
        task = asyncio.create_task(work)
        tasks = self._going_on.setdefault(run, set())
        tasks.add(task)
        task.add_done_callback(lambda done: self._ended(run, done))
        return task

    def _ended(self, run: str, task: asyncio.Task[Any]) -> None:
        tasks = self._going_on[run]
        tasks.discard(task)
        if not tasks:
            del self._going_on[run]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Refused):
            log.warning("work_failed", run=run, error=type(error).__name__, code=getattr(error, "code", None))

    async def drain(self) -> None:
        """Before the process ends: chunks under way end and are journaled; nothing new begins."""
        self.draining.set()
        await self.idle()

    async def idle(self) -> None:
        """Return when nothing is going on."""
        while self._going_on:
            await asyncio.wait([task for tasks in self._going_on.values() for task in tasks])

    # Revert URLs

    def revert_expires_at(self, state: RunState) -> datetime:
        """Counted from the opening, so that a repeated request gets the same URL."""
        return (state.opened_at or self.now()) + timedelta(days=self.settings.server.revert_days)

    def revert_url(self, state: RunState) -> str:
        token = sign(state.run, self.revert_expires_at(state), self.settings.signing_keys[0])
        return f"{self.settings.server.public_url.rstrip('/')}/revert/{token}"

    def run_url(self, run: str) -> str:
        return f"{self.settings.server.public_url.rstrip('/')}/v1/runs/{run}"

    def page_url(self, run: str) -> str:
        """The run's page, for people."""
        return f"{self.settings.server.public_url.rstrip('/')}/runs/{run}"

    def run_of(self, token: str) -> str:
        """The run that a revert token names. Raises Refused."""
        return verify(token, self.settings.signing_keys, self.now())

    async def close(self) -> None:
        await self.drain()
        await self.queue.close()
        for target in self.targets.values():
            await target.close()
        await self.journals.store.close()
