"""Figures of sweeps: they show what they were given, escaped, and refuse what does not fit."""

import json
from typing import Any

import numpy as np
import pytest

from probes.sweep_figures import accuracy_and_controls, confusion, reliability, token_shares
from workbench.figures import Figure

SCRIPT = "<script>alert(1)</script>"
COLUMNS = {
    "accuracy": np.array([0.5, 0.9]),
    "low": np.array([0.4, np.nan]),
    "high": np.array([0.7, np.nan]),
    "control task": np.array([0.3, 0.2]),
    "random weights": np.array([np.nan, np.nan]),
}


def sent(figure: Figure) -> dict:
    return json.loads(figure.to_json() or "")


def test_a_curve_has_its_controls_and_no_empty_ones() -> None:
    figure = accuracy_and_controls(["a", "b"], COLUMNS, chosen=1, title="t")
    traces: Any = figure.data
    named = {line.name: line for line in traces if line.name}
    assert list(named) == ["probe", "control task"]
    bars = named["probe"].error_y
    np.testing.assert_allclose(bars.array, [0.2, 0])
    np.testing.assert_allclose(bars.arrayminus, [0.1, 0])
    ring = traces[-1]
    assert (tuple(ring.x), tuple(ring.y)) == ((1,), (0.9,))
    with pytest.raises(ValueError, match="3 sites need as many values"):
        accuracy_and_controls(["a", "b", "c"], COLUMNS, title="t")


def test_a_long_title_is_broken_into_lines() -> None:
    title = f"<b> {'word ' * 30}"
    shown = sent(accuracy_and_controls(["a", "b"], COLUMNS, title=title))["layout"]["title"]["text"]
    lines = shown.split("<br>")
    assert " ".join(lines) == title.strip().replace("<b>", "&lt;b&gt;")
    assert len(lines) > 1 and max(map(len, lines)) <= 70


def test_a_confusion_shows_shares_and_counts() -> None:
    counts = np.array([[3, 1], [0, 0]])
    found = confusion(counts, ["yes", SCRIPT], title="t")
    traces: Any = found.data
    cells, words = traces
    np.testing.assert_allclose(cells.z, [[0.75, 0.25], [0, 0]])
    assert words.text == ("3", "1", "0", "0")
    assert SCRIPT not in json.dumps(sent(found)["layout"])
    with pytest.raises(ValueError, match="needs 2 row and 2 column labels"):
        confusion(counts, ["yes"], title="t")


def test_empty_bins_are_left_out() -> None:
    found = reliability([0.2, np.nan, 0.9], [0.1, np.nan, 1.0], [3, 0, 9], error=0.1, title="t")
    line = sent(found)["data"][1]
    assert (line["x"], line["y"], line["customdata"]) == ([0.2, 0.9], [0.1, 1.0], [3, 9])
    small, large = line["marker"]["size"]
    assert small < large
    with pytest.raises(ValueError, match="one value for each bin"):
        reliability([0.2], [0.1], [3, 4], error=0.1, title="t")


def test_token_shares_are_class_by_token() -> None:
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    found = token_shares(shares, ["a", "<b>", "a"], ["x", "y"], title="t")
    traces: Any = found.data
    np.testing.assert_allclose(traces[0].z, shares.T)
    assert sent(found)["layout"]["xaxis"]["ticktext"] == ["a", "&lt;b&gt;", "a"]
