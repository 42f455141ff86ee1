"""Pass-through: what one read and one write take longer than when the vendor is called directly."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench.figures import Figure, Sizes, percentile
from tests.bench.stack import Stack, stack, update

One = Callable[[str, str], Awaitable[object]]
"""One request about a record, with a mark that makes it another one than the last."""

_CONTACTS = 100
_WARM_UP = 10
_PART = "pass-through"


async def passing(sizes: Sizes, folder: Path) -> list[Figure]:
    """Requests one after the other on kept connections, the kinds in turn."""
    async with stack(folder, _CONTACTS, latency_ms=0) as made:
        kinds = _kinds(made)
        await _timed(made, kinds, _WARM_UP)
        taken = await _timed(made, kinds, sizes.requests)
    return [
        *_added("read", "guarded read", "read", taken, p50_ms_at_most=2.0),
        *_added("write, against write", "guarded write", "write", taken),
        *_added("write, against read + write", "guarded write", "read + write", taken),
    ]


def _kinds(made: Stack) -> dict[str, One]:
    http = made.guard.http

    async def guarded_read(id_: str, _: str) -> None:
        (await http.get(f"/to/crm/contacts/{id_}")).raise_for_status()

    async def guarded_write(id_: str, mark: str) -> None:
        (await http.put(f"/to/crm/contacts/{id_}", json=update(mark))).raise_for_status()

    async def both(id_: str, mark: str) -> None:
        await made.read(id_)
        await made.write(id_, update(mark))

    return {
        "guarded read": guarded_read,
        "read": lambda id_, _: made.read(id_),
        "guarded write": guarded_write,
        "write": lambda id_, mark: made.write(id_, update(mark)),
        "read + write": both,
    }


async def _timed(made: Stack, kinds: dict[str, One], count: int) -> dict[str, list[float]]:
    """Milliseconds of each request, by kind."""
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(count):
        id_ = made.ids[number % len(made.ids)]
        for name, kind in kinds.items():
            began = time.perf_counter()
            await kind(id_, f"{name} {number}")
            taken[name].append(1000 * (time.perf_counter() - began))
    return taken


def _added(
    what: str, measured: str, reference: str, taken: dict[str, list[float]], p50_ms_at_most: float | None = None
) -> list[Figure]:
    goals = {50: p50_ms_at_most, 99: None}
    figures = []
    for percent, at_most in goals.items():
        both = {f"{name}, ms": [percentile(taken[name], percent)] for name in (measured, reference)}
        with_guard, without = (values[0] for values in both.values())
        name = f"added to one {what}, p{percent}"
        figures.append(
            Figure(part=_PART, name=name, value=with_guard - without, unit="ms", at_most=at_most, samples=both)
        )
    return figures
