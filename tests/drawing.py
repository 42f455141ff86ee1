"""The diagrams of docs/design.md, drawn from the tables of guard/core/lifecycle.py.

python -m tests.drawing        draws them anew, after the tables have changed
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from guard.core.lifecycle import CHUNK, OPERATION, RUN

DESIGN = Path(__file__).parent.parent / "docs" / "design.md"
TABLES: Mapping[str, Mapping[tuple[str, str], str]] = {"run": RUN, "operation": OPERATION, "chunk": CHUNK}


def drawn(table: Mapping[tuple[str, str], str]) -> str:
    """A state diagram (mermaid); events that lead the same way share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (phase, event), following in table.items():
        arrows[phase, following].append(event)
    lines = [f"    {phase} --> {following}: {', '.join(events)}" for (phase, following), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def with_diagrams(text: str) -> str:
    """The document with what stands between its marks for a table drawn anew."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: drawn by python -m tests.drawing -->", f"<!-- {name}: end -->"
        text = re.sub(
            f"{re.escape(begin)}.*?{re.escape(end)}",
            f"{begin}\n{drawn(table)}\n{end}",
            text,
            flags=re.DOTALL,
        )
    return text


if __name__ == "__main__":
    DESIGN.write_text(with_diagrams(DESIGN.read_text()))
