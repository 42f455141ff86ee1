"""What a benchmark gives: figures, each with its goal; how samples become figures."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

Work = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured: `FULL` for figures to keep, `QUICK` to see that each figure can be produced."""

    records: int
    """Records of a bulk operation, rows of a database's."""
    rounds: int
    """How often the interleaved runs are repeated; medians are taken of them."""
    latencies_ms: tuple[int, ...]
    requests: int
    """Pass-through requests of each kind."""
    memory: tuple[int, ...]
    """Records of the operations whose memory is watched."""


FULL = Sizes(records=10_000, rounds=2, latencies_ms=(0, 50), requests=1000, memory=(1_000, 10_000, 100_000))
QUICK = Sizes(records=200, rounds=1, latencies_ms=(0, 5), requests=20, memory=(100, 300))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number. `at_most` is its goal; None: it has none and is there to be read."""

    part: str
    name: str
    value: float
    unit: str
    at_most: float | None = None
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """What it was made of, in the order in which it was measured; seconds where the name does not say."""

    @property
    def verdict(self) -> str:
        if self.at_most is None:
            return ""
        return "met" if self.value <= self.at_most else "NOT MET"


async def seconds(work: Work) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


def ratio(measured: Sequence[float], reference: Sequence[float]) -> float:
    """The median of the rounds' ratios: within a round both met the same machine."""
    return median(m / r for m, r in zip(measured, reference, strict=True))


def percentile(samples: Sequence[float], percent: int) -> float:
    return quantiles(samples, n=100, method="inclusive")[percent - 1]
