"""Memory: how far above idle Guard's process rises with the size of an operation and of its revert."""

from pathlib import Path

import psutil

from tests.bench.figures import Figure, Sizes
from tests.bench.stack import ndjson, stack, update

_MIB = 1024 * 1024
_AT_MOST_MIB = 200.0


async def memory(sizes: Sizes, folder: Path) -> list[Figure]:
    """A fresh process for each size, so that none finds what another has left."""
    figures: list[Figure] = []
    for records in sizes.memory:
        async with stack(folder, records, latency_ms=0) as made:
            process, body = made.guard.process, ndjson(made.ids, update("memory"))
            idle = process.memory_info().rss
            run = await made.guard.operate("contacts", body)
            figures.append(_figure(f"update of {records}", peak_bytes(process) - idle))
            forget_peak(process)
            await made.guard.revert(run)
            figures.append(_figure(f"revert of {records}", peak_bytes(process) - idle))
    return figures


def _figure(what: str, above_idle: int) -> Figure:
    return Figure(
        part="memory", name=f"peak above idle, {what}", value=above_idle / _MIB, unit="MiB", at_most=_AT_MOST_MIB
    )


def peak_bytes(process: psutil.Process) -> int:
    """The most that the process ever had resident, or had since `forget_peak`: Linux keeps it (proc(5), VmHWM)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kib) * 1024


def forget_peak(process: psutil.Process) -> None:
    """proc(5), clear_refs: 5 resets the peak to what is resident now."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
