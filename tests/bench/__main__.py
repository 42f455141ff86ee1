"""python -m tests.bench [--only bulk,passing,postgres,memory,pages] [--quick]: measure, save, print."""

import argparse
import tempfile
from pathlib import Path

import uvloop

from tests.bench import report
from tests.bench.bulk import bulk
from tests.bench.figures import FULL, QUICK, Figure, Sizes
from tests.bench.memory import memory
from tests.bench.pages import pages
from tests.bench.passing import passing
from tests.bench.postgres import postgres

PARTS = {"bulk": bulk, "passing": passing, "postgres": postgres, "memory": memory, "pages": pages}
RESULTS = Path(__file__).parent / "results"


async def measured(parts: list[str], sizes: Sizes) -> list[Figure]:
    figures: list[Figure] = []
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="guard-bench-") as folder:
            figures += await PARTS[part](sizes, Path(folder))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measures Guard against doing without.")
    parser.add_argument("--only", help=f"parts with commas between them: {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that the figures are saved in")
    args = parser.parse_args()
    parts = args.only.split(",") if args.only else list(PARTS)
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    sizes = QUICK if args.quick else FULL
    on = report.machine()
    figures = uvloop.run(measured(parts, sizes))
    name = "-".join([report.commit(), *(parts if args.only else []), *(["quick"] if args.quick else [])])
    path = report.save(args.results, name, sizes, figures, on)
    report.show(figures, on)
    print(f"Saved as {path}")


if __name__ == "__main__":
    main()
