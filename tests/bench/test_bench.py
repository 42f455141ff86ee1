"""That each figure can be produced; how large it is says nothing on a machine that runs tests."""

import json
import math
from pathlib import Path

import pytest

from tests.bench import report
from tests.bench.__main__ import PARTS, measured
from tests.bench.figures import QUICK, Figure, percentile, ratio

COUNTS = {"bulk": 14, "passing": 6, "postgres": 5, "memory": 4, "pages": 10}


@pytest.mark.heavy
@pytest.mark.parametrize("part", PARTS)
async def test_every_figure_of_a_part_can_be_produced(part: str) -> None:
    figures = await measured([part], QUICK)

    assert len(figures) == COUNTS[part]
    assert all(math.isfinite(figure.value) and figure.unit for figure in figures)
    assert len({(figure.part, figure.name) for figure in figures}) == len(figures)


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_of_their_times() -> None:
    assert ratio([2.0, 30.0, 3.0], [1.0, 10.0, 1.0]) == 3.0


def test_a_percentile_lies_among_the_samples() -> None:
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert 2.9 < percentile([1.0, 2.0, 3.0], 99) <= 3.0


def test_a_figure_says_whether_its_goal_is_met() -> None:
    figures = [Figure(part="p", name="n", value=2.0, unit="x", at_most=goal) for goal in (2.0, 1.9, None)]
    assert [figure.verdict for figure in figures] == ["met", "NOT MET", ""]


def test_saved_figures_tell_the_machine_and_the_versions_they_were_taken_with(tmp_path: Path) -> None:
    figure = Figure(part="p", name="n", value=2.0, unit="x", at_most=1.0, samples={"a": [1.0]})
    path = report.save(tmp_path, "abc1234", QUICK, [figure], report.machine())
    saved = json.loads(path.read_text())

    assert path.name.endswith("-abc1234.json")
    assert {"cores", "cpu", "python", "libraries", "fsync_ms"} <= set(saved["machine"])
    assert saved["figures"][0]["verdict"] == "NOT MET"
