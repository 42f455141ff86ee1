"""Bulk operations at a vendor's API: calls against the least, wall time against the same without Guard, CPU."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from tests.bench.figures import Figure, Sizes, ratio, seconds
from tests.bench.stack import CONCURRENCY, Stack, ndjson, stack, update

_CPU = "Guard's CPU in update, s"


async def bulk(sizes: Sizes, folder: Path) -> list[Figure]:
    figures: list[Figure] = []
    for latency_ms in sizes.latencies_ms:
        async with stack(folder, sizes.records, latency_ms) as made:
            rounds = [await _round(made, f"r{number}") for number in range(sizes.rounds)]
        samples = {name: [each[name] for each in rounds] for name in rounds[0]}
        figures += _figures(sizes.records, latency_ms, samples)
    return figures


async def _round(made: Stack, mark: str) -> dict[str, float]:
    """Guarded, unguarded, guarded back, writes only; each seen by its wall time and the calls the vendor had."""
    guard, body = made.guard, ndjson(made.ids, update(mark))
    runs: list[dict[str, object]] = []

    async def guarded() -> None:
        runs.append(await guard.operate("contacts", body))

    calls, cpu_s = await made.calls(), guard.cpu_s()
    taken = {"guarded update": await seconds(guarded)}
    taken[_CPU] = guard.cpu_s() - cpu_s
    taken["calls of update"] = await made.calls() - calls
    calls = await made.calls()
    taken["revert"] = await seconds(lambda: guard.revert(runs[0]))
    taken["calls of revert"] = await made.calls() - calls
    taken["reads and writes"] = await seconds(lambda: made.unguarded(mark + "rw", reads=True))
    taken["writes only"] = await seconds(lambda: made.unguarded(mark + "w", reads=False))
    return taken


def _figures(records: int, latency_ms: int, samples: Mapping[str, Sequence[float]]) -> list[Figure]:
    part, least = f"bulk, {latency_ms} ms", 2.0 * records
    both, writes = samples["reads and writes"], samples["writes only"]
    goal = None if latency_ms == 0 else 1.1

    def ratio_to(name: str, measured: str, reference: Sequence[float], at_most: float | None = None) -> Figure:
        value = ratio(samples[measured], reference)
        kept = {measured: samples[measured], "reference": reference}
        return Figure(part=part, name=name, value=value, unit="x", at_most=at_most, samples=kept)

    every = [least] * len(both)
    ceiling_s = [least * latency_ms / 1000 / CONCURRENCY] * len(both)
    # The reference pays for its own client; the vendor's latency alone is a bound that nothing can beat.
    bounds = (
        [
            ratio_to(f"{name} / latency x calls / {CONCURRENCY}", name, ceiling_s)
            for name in ("guarded update", "revert")
        ]
        if latency_ms
        else []
    )
    cpu_ms = 1000 * median(samples[_CPU]) / records
    return [
        ratio_to("vendor calls of update / least", "calls of update", every, 1.0),
        ratio_to("vendor calls of revert / least", "calls of revert", every, 1.0),
        ratio_to("guarded update / reads + writes", "guarded update", both, goal),
        ratio_to("guarded update / writes only", "guarded update", writes),
        ratio_to("revert / reads + writes", "revert", both, goal),
        *bounds,
        Figure(
            part=part, name="Guard's CPU per record, update", value=cpu_ms, unit="ms", samples={_CPU: samples[_CPU]}
        ),
    ]
