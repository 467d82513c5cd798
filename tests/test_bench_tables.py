"""The bench table: what got worse is flagged, whichever way is better; the docs hold the last."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.ratios import Row
from benchmarks.tables import fallen, page, read, save

DOCS = Path(__file__).parents[1] / "docs"
FASTER = Row("a sweep", "peer / workbench", 10.0, 9.0, 11.0, 10.0, "1 s / 100 ms", ">= 10")
FLOOR = Row("a harvest", "workbench / bare forward", 1.0, 0.9, 1.1, 1.0, target="<= 1.1")
FREE = Row("a step", "workbench / one product", 2.0, 2.0, 2.0, 2.0)


def test_what_was_saved_is_read_and_other_cases_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    save(path, [FASTER, FLOOR], {"date": "then"})
    save(path, [replace(FASTER, ratio=12.0)], {"date": "now"})
    rows, about = read(path)
    assert [row.ratio for row in rows.values()] == [12.0, 1.0] and about == {"date": "now"}


@pytest.mark.parametrize(
    ("row", "worse", "about_the_same", "better"),
    [(FASTER, 8.4, 8.6, 20.0), (FLOOR, 1.2, 1.15, 0.5), (FREE, 2.4, 2.3, 1.0)],
)
def test_a_fall_by_more_than_15_percent_is_flagged(
    row: Row, worse: float, about_the_same: float, better: float
) -> None:
    before = {f"{row.case}: {row.what}": row}
    assert len(fallen([replace(row, ratio=worse)], before)) == 1
    assert fallen([replace(row, ratio=about_the_same)], before) == []
    assert fallen([replace(row, ratio=better)], before) == []
    assert fallen([replace(row, case="new")], before) == []


def test_the_page_of_the_docs_is_the_saved_table() -> None:
    assert (DOCS / "bench-table.md").read_text() == page(DOCS / "bench-table.json")
