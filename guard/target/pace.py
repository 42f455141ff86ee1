"""The pace at which a target is called: at most so many at once, at most so many in any window of time.

One pace is shared by everything Guard does with a target, so that two runs together stay within its limit.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

from handlers.base import LimitHeaders, Limits

_UNLIMITED = Limits(requests=1_000_000, per_s=1.0, concurrency=64)


PAUSE_MAX_S = 30.0
"""Longest pause that callers sit out; after a longer Retry-After they are told at once."""


class TooLong(Exception):
    """The vendor wants a longer pause than a caller should wait for; nothing was sent."""


class Pace:
    """`async with pace:` around every call. `learn` takes the vendor's headers, `pause` its Retry-After."""

    def __init__(self, limits: Limits | None, headers: LimitHeaders | None) -> None:
        self._is_limited = limits is not None
        limits = limits or _UNLIMITED
        self._requests, self._per_s = limits.requests, limits.per_s
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._headers = headers
        self._sent: deque[float] = deque()
        self._paused_until = 0.0

    async def __aenter__(self) -> Self:
        await self._slots.acquire()
        try:
            while (wait_s := self._wait_s(time.monotonic())) > 0:
                if wait_s > max(PAUSE_MAX_S, self._per_s):
                    raise TooLong(f"it asked Guard to call again in {wait_s:.0f} s only")
                await asyncio.sleep(wait_s)
        except BaseException:
            self._slots.release()
            raise
        self._sent.append(time.monotonic())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.release()

    def _wait_s(self, now: float) -> float:
        while self._sent and self._sent[0] <= now - self._per_s:
            self._sent.popleft()
        full = len(self._sent) >= self._requests
        return max(self._paused_until - now, self._sent[0] + self._per_s - now if full else 0.0)

    def seconds_for(self, calls: int) -> float | None:
        """The least time for so many calls by anybody at all; None: there is no limit to tell it from."""
        return max(0, math.ceil(calls / self._requests) - 1) * self._per_s if self._is_limited else None

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take over the limit that the vendor's own headers tell; it may differ from the documented one."""
        if self._headers is None:
            return
        maximum, interval = _number(headers, self._headers.maximum), _number(headers, self._headers.interval_ms)
        if maximum and interval:
            self._requests, self._per_s = int(maximum), interval / 1000

    def pause(self, headers: Mapping[str, str]) -> None:
        """The vendor said "too many": nobody calls before its Retry-After, or one window where it names none."""
        wait_s = _number(headers, "retry-after") or _seconds_until(headers.get("retry-after", "")) or self._per_s
        self._paused_until = max(self._paused_until, time.monotonic() + wait_s)


def _number(headers: Mapping[str, str], name: str) -> float | None:
    """A positive number, or None: Retry-After may be a date, and a proxy may send anything."""
    text = headers.get(name, "")
    return float(text) if text.replace(".", "", 1).isdigit() else None


def _seconds_until(text: str) -> float | None:
    """Until a date as RFC 9110 writes it; None for anything else, and for one that has passed."""
    try:
        seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return seconds if seconds > 0 else None
