"""The page behind a revert URL: how long a browser waits for it, for a run of many records."""

import re
from pathlib import Path
from statistics import median

from scenarios.sandboxes.highlevel import DEFAULT_TOKEN
from tests.bench.figures import Figure, Sizes, seconds
from tests.bench.stack import GuardProcess, guard_process, ndjson, sandbox_settings, stack, update

_HTML = {"accept": "text/html"}
_AT_MOST_S = 1.0
_ROUNDS = 5


async def pages(sizes: Sizes, folder: Path) -> list[Figure]:
    """By a Guard that has just carried out the run, and by one that has not seen it: it reads the journal."""
    async with stack(folder, sizes.records, latency_ms=0) as made:
        run = await made.guard.operate("contacts", ndjson(made.ids, update("pages")))
        path = re.sub(r"^https?://[^/]*", "", str(run["revert_url"]))
        last = sizes.records // 50
        figures = [
            *_figures("first page", await _taken(made.guard, f"{path}?page=1", _ROUNDS), goal=True),
            *_figures(f"page {last}", await _taken(made.guard, f"{path}?page={last}", _ROUNDS)),
            *_figures("search, the first", await _taken(made.guard, f"{path}?search=Title", 1)),
            *_figures("search, further ones", await _taken(made.guard, f"{path}?search=pages", _ROUNDS)),
        ]
        fresh = []
        for _ in range(_ROUNDS):
            settings = sandbox_settings(str(made.vendor.base_url).rstrip("/"))
            async with guard_process(folder, "crm", "highlevel", DEFAULT_TOKEN, settings, like=made.guard) as guard:
                fresh += await _taken(guard, f"{path}?page=1", 1)
        return [*figures, *_figures("first page, by a fresh Guard", fresh, goal=True)]


async def _taken(guard: GuardProcess, path: str, times: int) -> list[tuple[float, bool]]:
    """Seconds until the whole page is here, and whether it came with what the records hold now."""
    texts: list[str] = []

    async def look() -> None:
        texts.append((await guard.http.get(path, headers=_HTML)).raise_for_status().text)

    taken = [await seconds(look) for _ in range(times)]
    if not all('name="ids"' in text for text in texts):
        raise RuntimeError("A page came without records.")
    return [(time, "not read yet" not in text) for time, text in zip(taken, texts, strict=True)]


def _figures(name: str, taken: list[tuple[float, bool]], *, goal: bool = False) -> list[Figure]:
    times, whole = [time for time, _ in taken], sum(whole for _, whole in taken) / len(taken)
    at_most = _AT_MOST_S if goal else None
    return [
        Figure(part="pages", name=name, value=median(times), unit="s", at_most=at_most, samples={name: times}),
        Figure(part="pages", name=f"{name}, present values with it", value=100 * whole, unit="%"),
    ]
