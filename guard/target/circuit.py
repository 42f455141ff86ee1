"""A circuit breaker: a vendor that is down is not asked by every caller until all of them have waited in vain."""

import time
from collections.abc import Callable

FAILURES_MAX = 10
"""Failures in a row, of whatever calls, after which a target counts as down."""

OPEN_S = 10.0
"""For so long it is left alone; then one call tries it."""


class Circuit:
    """`wait_s` before each call, `worked` or `failed` after it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._tried_at = 0.0

    def wait_s(self) -> float:
        """Seconds for which the target must not be called; 0: it may be. Of a target that is down, one call may."""
        if self._failures < FAILURES_MAX:
            return 0.0
        wait = self._tried_at + OPEN_S - self._clock()
        if wait > 0:
            return wait
        self._tried_at = self._clock()
        return 0.0

    def worked(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        self._tried_at = self._clock()
