"""Figures on the screen and on disk, with the machine that they were taken on."""

import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figure, Sizes

_LIBRARIES = "asyncpg httptools httpx2 orjson psutil sqlalchemy starlette uvicorn uvloop zstandard".split()
_SYNCS = 50


def machine() -> dict[str, Any]:
    """What figures depend on besides the code: processor, versions, how fast the disk of the store confirms."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "fsync_ms": round(_fsync_ms(), 3),
        "load_1min": os.getloadavg()[0],
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _fsync_ms() -> float:
    """The median time in which 4 KiB reach the disk that temporary files are on, as those of the measured Guard are."""
    taken = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            taken.append(1000 * (time.perf_counter() - began))
    return median(taken)


def save(folder: Path, name: str, sizes: Sizes, figures: Sequence[Figure], on: dict[str, Any]) -> Path:
    """Write results/<date>-<commit>[-quick].json; a later run of the same day and commit replaces it."""
    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y-%m-%d}-{name}.json"
    content = {
        "at": now.isoformat(timespec="seconds"),
        "commit": name,
        "machine": on,
        "sizes": asdict(sizes),
        "figures": [{**asdict(figure), "verdict": figure.verdict or None} for figure in figures],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def commit() -> str:
    """The commit that is checked out, shortened; "tree" where there is no git to tell."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - a fixed command
    except (OSError, subprocess.CalledProcessError):
        return "tree"
    return told.stdout.strip()


def show(figures: Sequence[Figure], on: dict[str, Any]) -> None:
    table = Table("part", "figure", "value", "goal", "", title=f"{on['cores']} cores, {on['cpu']}")
    for figure in figures:
        goal = "" if figure.at_most is None else f"<= {figure.at_most:g} {figure.unit}"
        table.add_row(figure.part, figure.name, f"{figure.value:.3g} {figure.unit}", goal, figure.verdict)
    Console(width=120).print(table)
