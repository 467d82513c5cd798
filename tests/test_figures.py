"""Figures: they show what they were given, cell by cell, and nothing that tokens smuggle in."""

import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from workbench import figures

TOKENS = ["the", "·the", "the"]
SCRIPT = "<script>alert(1)</script>"
LENS = {"layers": ["embed", "L0"], "name": "probability", "title": "lens"}


def lens(value: np.ndarray, tokens: list[str] = TOKENS, **more) -> go.Figure:
    top = [["x"] * value.shape[1]] * value.shape[0]
    return figures.lens(value, **{**LENS, "top": top, "tokens": tokens, **more})


def drawn(figure: go.Figure) -> dict:
    """The one trace and the layout, as the browser gets them."""
    found = json.loads(figure.to_json() or "")
    (trace,) = found["data"]
    return {"trace": trace, **found["layout"]}


def first(figure: go.Figure) -> dict:
    """The first trace and the layout; a second one marks what is not defined."""
    found = json.loads(figure.to_json() or "")
    return {"trace": found["data"][0], **found["layout"]}


def numbers(figure: go.Figure) -> np.ndarray:
    trace: Any = figure.data[0]
    return np.asarray(trace.z, dtype=float)


def test_a_pattern_is_drawn_as_given() -> None:
    weights = np.tril(np.random.default_rng(0).random((3, 3)))
    figure = figures.pattern(weights, tokens=TOKENS, title="L1H2")
    assert np.array_equal(numbers(figure), weights)
    shown = drawn(figure)
    assert shown["xaxis"]["tickvals"] == [0, 1, 2], "equal tokens keep columns of their own"
    assert shown["xaxis"]["ticktext"] == shown["yaxis"]["ticktext"] == TOKENS
    assert shown["yaxis"]["autorange"] == "reversed"
    assert shown["trace"]["customdata"][2][1] == "the → ·the", "query → key"
    assert (shown["trace"]["zmin"], shown["trace"]["zmax"]) == (0, 1)
    assert shown["title"]["text"] == "L1H2"


def test_a_lens_is_drawn_as_given() -> None:
    value = np.random.default_rng(0).random((2, 3))
    figure = lens(value, top=[["a", "b", "c"], ["d", "e", "f"]])
    assert np.array_equal(numbers(figure), value)
    shown = drawn(figure)
    assert shown["trace"]["text"] == [["a", "b", "c"], ["d", "e", "f"]]
    assert shown["yaxis"]["ticktext"] == ["embed", "L0"]
    assert "autorange" not in shown["yaxis"], "the last layer is on top"
    assert shown["xaxis"]["tickvals"] == [0, 1, 2]
    assert shown["trace"]["zmax"] == 1
    assert drawn(lens(7 * value, name="entropy"))["trace"]["zmax"] == pytest.approx(7 * value.max())


def test_head_scores_are_drawn_as_given() -> None:
    scores = np.array([[0.1, np.nan], [0.9, 0.0]])
    figure = figures.head_scores(scores, name="induction", title="scores")
    assert np.array_equal(numbers(figure), scores, equal_nan=True)
    shown = first(figure)
    assert shown["trace"]["text"] == [["L0H0", "L0H1"], ["L1H0", "L1H1"]]
    assert (shown["trace"]["zmin"], shown["trace"]["zmax"]) == (0, 1)
    assert shown["yaxis"]["range"] == [1.5, -0.5], "layer 0 is on top"
    entropy = figures.head_scores(scores * 5, name="entropy", title="")
    assert first(entropy)["trace"]["zmax"] == 4.5


def test_values_that_are_not_defined_are_drawn() -> None:
    empty = np.full((2, 3), np.nan)
    assert np.isnan(numbers(figures.head_scores(empty, name="induction", title=""))).all()
    some = np.array([[np.nan, 1.0, 2.0], [0.0, 1.0, 2.0]])
    assert np.array_equal(numbers(lens(some, name="kl")), some, equal_nan=True)


@pytest.mark.parametrize(
    ("draw", "told"),
    [
        (
            lambda: figures.pattern(np.zeros((2, 3)), tokens=TOKENS, title=""),
            r"pattern of shape \(2, 3\) needs 2 row and 3 column labels, got 3 and 3",
        ),
        (
            lambda: figures.pattern(np.zeros((3, 3)), tokens=TOKENS[:2], title=""),
            r"pattern of shape \(3, 3\) needs 3 row and 3 column labels, got 2 and 2",
        ),
        (lambda: lens(np.zeros((3, 3))), r"lens of shape \(3, 3\) needs 3 row .* got 2 and 3"),
        (lambda: lens(np.zeros((2, 2))), r"lens of shape \(2, 2\) .* got 2 and 3"),
    ],
)
def test_labels_that_do_not_fit_are_told(draw, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        draw()


@pytest.mark.parametrize(
    "figure",
    [
        figures.pattern(np.eye(1), tokens=[SCRIPT], title=SCRIPT),
        lens(np.zeros((2, 1)), tokens=[SCRIPT], title=SCRIPT, top=[[SCRIPT]] * 2),
        figures.head_scores(np.zeros((1, 1)), name="x", title=SCRIPT),
    ],
    ids=["pattern", "lens", "head_scores"],
)
def test_html_in_tokens_is_escaped(figure: go.Figure) -> None:
    """Plotly reads a subset of HTML in every text that it draws."""
    assert "<script" not in (figure.to_json() or "").replace("\\u003c", "<").lower()
    page = figures.page([figure], title=SCRIPT, note=SCRIPT)
    assert "<script>alert" not in page


def test_a_page_is_self_contained() -> None:
    figure = figures.pattern(np.eye(3), tokens=TOKENS, title="one")
    page = figures.page([figure, figure], title="A & B", note="x < y")
    assert page.startswith("<!doctype html>")
    assert "A &amp; B" in page
    assert "x &lt; y" in page
    assert 'src="http' not in page
    assert "src='http" not in page
    assert "<link" not in page
    assert page.count("Plotly.newPlot(") >= 2
    assert len(page) > 1_000_000, "Plotly itself"
    assert len(page) < 1.9 * len(figures.page([figure], title="", note="")), "once"


def test_eigenvalues_are_drawn_as_given() -> None:
    values = np.array([1 + 2j, -0.5 + 0j])
    figure = figures.eigenvalues(values, title="L1H2")
    trace: Any = figure.data[0]
    assert (list(trace.x), list(trace.y)) == ([1, -0.5], [2, 0])
    assert drawn(figure)["yaxis"]["scaleanchor"] == "x", "an angle is seen as it is"


def test_a_grid_is_drawn_as_given() -> None:
    value = np.array([[1.0, -2.0, np.nan], [0.5, 0.0, 0.1]])
    how = {"axes": ("reads", "writes"), "name": "score", "title": "OV"}
    figure = figures.grid(value, ["a", "a"], ["x", "y", SCRIPT], **how)
    assert np.array_equal(numbers(figure), value, equal_nan=True)
    shown = first(figure)
    assert (shown["trace"]["zmin"], shown["trace"]["zmax"]) == (-2, 2)
    assert shown["trace"]["customdata"][1][0] == "a → x"
    assert SCRIPT not in json.dumps(shown)
    assert shown["yaxis"]["autorange"] == "reversed"
    assert shown["yaxis"]["ticktext"] == ["a", "a"]
    assert first(figures.grid(value, ["a", "a"], TOKENS, **how, signed=False))["trace"]["zmin"] == 0
    empty = figures.grid(np.full((1, 1), np.nan), ["a"], ["b"], **how)
    assert first(empty)["trace"]["zmax"] == 1
    with pytest.raises(ValueError, match=r"grid of shape \(2, 3\) needs 2 row and 3 column labels"):
        figures.grid(value, ["a"], TOKENS, **how)


def test_a_large_grid_has_no_more_ticks_than_can_be_read() -> None:
    names = [f"L{i // 9}H{i % 9}" for i in range(270)]
    shown = first(
        figures.grid(np.zeros((270, 270)), names, names, axes=("", ""), name="K", title="")
    )
    assert len(shown["xaxis"]["ticktext"]) <= 40
    assert shown["xaxis"]["ticktext"][1] == names[shown["xaxis"]["tickvals"][1]]


def test_effects_are_drawn_as_given() -> None:
    mean = np.array([[0.5, -0.25], [0.0, 1.5]])
    names = [[f"blocks.{layer}.hook_resid_pre at {SCRIPT}"] * 2 for layer in range(2)]
    how = {"axes": ("layer", "place"), "title": "resid_pre"}
    figure = figures.effects(
        mean, mean - 0.1, mean + 0.2, ["L0", "L1"], ["the", "the"], **how, names=names
    )
    assert np.array_equal(numbers(figure), mean)
    shown = first(figure)
    assert (shown["trace"]["zmin"], shown["trace"]["zmax"]) == (-1.5, 1.5)
    name, low, high = shown["trace"]["customdata"][1][1]
    assert name.startswith("blocks.1.hook_resid_pre at &lt;script")
    assert (low, high) == (pytest.approx(1.4), pytest.approx(1.7))
    assert "[%{customdata[1]:.3f}, %{customdata[2]:.3f}]" in shown["trace"]["hovertemplate"]
    assert shown["xaxis"]["tickvals"] == [0, 1], "equal tokens keep columns of their own"
    assert SCRIPT not in json.dumps(shown)


def test_effects_of_noising_part_at_one() -> None:
    how = {"axes": ("layer", "place"), "title": ""}
    mean = np.array([[1.0, 0.25]])
    shown = first(figures.effects(mean, None, None, ["L0"], ["a", "b"], **how, nothing=1.0))
    assert (shown["trace"]["zmin"], shown["trace"]["zmax"]) == (0.25, 1.75)
    assert shown["trace"]["customdata"] == [[["L0 → a"], ["L0 → b"]]]
    assert "customdata[1]" not in shown["trace"]["hovertemplate"], "one pair has no interval"
    shared = first(figures.effects(mean, None, None, ["L0"], ["a", "b"], **how, limit=2.0))
    assert (shared["trace"]["zmin"], shared["trace"]["zmax"]) == (-2, 2)
    none = first(figures.effects(np.zeros((1, 1)), None, None, ["L0"], ["a"], **how))
    assert (none["trace"]["zmin"], none["trace"]["zmax"]) == (-1, 1)


@pytest.mark.usefixtures("unchecked")
def test_bounds_of_another_shape_are_told() -> None:
    mean = np.zeros((1, 2))
    how = {"axes": ("layer", "place"), "title": ""}
    with pytest.raises(ValueError, match=r"bound of shape \(1, 1\) needs 1 row and 1 column"):
        figures.effects(mean, np.zeros((1, 1)), mean, ["L0"], ["a", "b"], **how)


def test_a_chosen_effect_is_outlined_and_cells_are_clicked() -> None:
    mean = np.array([[0.5, -0.25, 0.0], [0.0, 1.5, 0.1]])
    how = {"axes": ("layer", "place"), "title": ""}
    names = [[f"L{row} at {SCRIPT}"] * 3 for row in range(2)]
    figure = figures.effects(
        mean, mean - 1, mean + 1, ["L0", "L1"], TOKENS, **how, names=names, chosen=(1, 2)
    )
    shown = json.loads(figure.to_json() or "")
    layout: Any = figure.layout
    squares: Any = figure.data[-1]
    assert squares.type == "scatter"
    places = list(zip(squares.y, squares.x, strict=True))
    assert sorted(places) == [(row, column) for row in range(2) for column in range(3)]
    values = [mean[place] for place in places]
    assert [float(text) for text in squares.text] == values
    bounds = [tuple(told[1:]) for told in squares.customdata]
    assert bounds == [(value - 1, value + 1) for value in values]
    assert "%{text} [%{customdata[1]:.3f}, %{customdata[2]:.3f}]" in squares.hovertemplate
    assert squares.hoverinfo != "skip" and SCRIPT not in json.dumps(shown)
    (box,) = layout.shapes
    assert (box.x0, box.x1, box.y0, box.y1) == (1.5, 2.5, 0.5, 1.5)
    assert layout.xaxis.range == (-0.5, 2.5) and layout.yaxis.range == (1.5, -0.5)
    plain = json.loads(
        figures.effects(mean, None, None, ["L0", "L1"], TOKENS, **how).to_json() or ""
    )
    assert "shapes" not in plain["layout"] and plain["data"][-1]["type"] == "heatmap"


def test_effects_of_heads_are_bars_from_nothing() -> None:
    mean = np.array([1.0, 0.25, 1.5])
    heads = ["H0", "H1", "H2"]
    figure = figures.head_effects(
        mean, mean - 0.5, mean + 0.25, heads, title="L0", nothing=1.0, chosen=1
    )
    bars: Any = figure.data[0]
    assert bars.base == 1.0 and list(bars.y) == [0, -0.75, 0.5], "noising: 1 is nothing"
    assert list(bars.customdata) == heads and bars.text[1] == "H1: 0.250 [-0.250, 0.500]"
    assert list(bars.error_y.array) == [0.25] * 3 and list(bars.error_y.arrayminus) == [0.5] * 3
    up, down = bars.marker.color[2], bars.marker.color[1]
    assert up != down and list(np.flatnonzero(bars.marker.line.width)) == [1]
    one: Any = figures.head_effects(mean, None, None, heads, title="L0").data[0]
    assert not one.error_y.visible and one.text[0] == "H0: 1.000"


def test_estimates_stand_against_the_exact_effects() -> None:
    exact, estimated = np.array([0.0, 2.0, -1.0]), np.array([0.5, 1.0, -3.0])
    figure = figures.estimates(exact, estimated, names=["a", SCRIPT, "c"], method="AtP", title="r")
    data: Any = figure.data
    points, line = data
    assert list(points.x) == list(exact) and list(points.y) == list(estimated)
    assert list(line.x) == list(line.y) == [-3.0, 2.0], "where both are the same"
    assert json.loads(figure.to_json() or "")["layout"]["yaxis"]["title"]["text"] == "effect by AtP"
    assert SCRIPT not in (figure.to_json() or "")


EDGES = [
    ("embed", "L0H1", "embed->L0H1.v", 0.5),
    ("L0H1", "L0.mlp", "L0H1->L0.mlp", -1.0),
    ("L0.mlp", "logits", "L0.mlp->logits", 0.25),
]


def traces(figure: go.Figure) -> list[Any]:
    return [*figure.data]


def test_a_circuit_is_drawn_from_the_left_to_the_right() -> None:
    figure = figures.circuit(EDGES, layers=2, heads=4, title="c")
    *lines, handles, nodes = traces(figure)
    assert [trace.line.width for trace in lines] == [2.25, 4.5, 9.0], "the strongest on top"
    red, blue = lines[-1].line.color, lines[0].line.color
    assert red != blue == lines[1].line.color, "what works against the answer has its own colour"
    assert list(nodes.customdata) == ["L0H1", "L0.mlp", "embed", "logits"]
    place = dict(zip(nodes.customdata, zip(nodes.x, nodes.y, strict=True), strict=True))
    assert place["embed"][0] < place["L0H1"][0] < place["L0.mlp"][0] < place["logits"][0]
    assert (place["L0H1"][1], place["L0.mlp"][1]) == (1, 4)
    assert list(nodes.text) == ["H1", "M", "", ""]
    for (sender, reader, *_), line in zip(
        reversed(EDGES), [lines[0], lines[2], lines[1]], strict=True
    ):
        assert (line.x[0], line.y[0]) == place[sender]
        assert (line.x[-1], pytest.approx(line.y[-1])) == place[reader]
    assert handles.text[0] == "L0H1-&gt;L0.mlp: -1.000", "the strongest first"
    assert list(figure.layout.yaxis.ticktext) == ["H0", "H1", "H2", "H3", "MLP"]
    assert figure.layout.yaxis.range[1] >= max(max(line.y) for line in lines)


def test_edges_along_one_line_part() -> None:
    """MLPs stand in one row: arcs of other lengths have other middles."""
    edges = [("L0.mlp", f"L{layer}.mlp", "", 1.0) for layer in (1, 2, 3)]
    figure = figures.circuit(edges, layers=4, heads=2, title="")
    heights = [max(trace.y) for trace in traces(figure)[:3]]
    assert len(set(heights)) == 3 and min(heights) > 2


def test_of_a_large_circuit_the_strongest_edges_are_drawn() -> None:
    edges = [("embed", f"L{n}.mlp", SCRIPT, n / 200) for n in range(200)]
    figure = figures.circuit(edges, layers=200, heads=1, title="200 edges")
    assert figure.layout.title.text == "200 edges, the 150 strongest drawn"
    *lines, _, nodes = traces(figure)
    assert len(lines) == 150 and "L50.mlp" in nodes.customdata
    assert "L49.mlp" not in nodes.customdata
    assert SCRIPT not in (figure.to_json() or "")


def test_an_empty_circuit_is_an_empty_picture() -> None:
    figure = figures.circuit([], layers=2, heads=4, title="0 edges")
    assert [len(trace.x) for trace in traces(figure)] == [0, 0]


def test_faithfulness_is_drawn_over_sizes() -> None:
    mean = np.array([0.0, 0.5, 1.0])
    curves = {"signed": (mean, mean - 0.1, mean + 0.2), "size": (mean / 2, mean / 2, mean / 2)}
    figure = figures.faithfulness([0.001, 0.1, 1.0], curves, title="CPR")
    one, two = traces(figure)
    assert (one.name, two.name) == ("signed", "size") and one.line.color != two.line.color
    assert list(one.x) == [0.001, 0.1, 1.0] and list(two.y) == [0.0, 0.25, 0.5]
    assert list(one.error_y.array) == pytest.approx([0.2] * 3)
    assert list(one.error_y.arrayminus) == pytest.approx([0.1] * 3)
    assert {shape.y0 for shape in figure.layout.shapes} == {0, 1}, "the anchors"
    assert figure.layout.xaxis.type == "log"
