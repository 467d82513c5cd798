"""Figures of neurons and of the framework, from arrays."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from workbench.figures import framework, neurons
from workbench.figures.histogram import activations
from workbench.figures.layout import CATEGORIES


def traces(figure: go.Figure) -> list[Any]:
    return [*figure.data]


def layout(figure: go.Figure) -> Any:
    return figure.layout


def test_a_histogram_has_a_bar_for_each_bin():
    edges, counts = np.array([-1.0, 0.0, 2.0]), np.array([3, 9])
    figure = activations(edges, counts, title="<neuron>")
    (bar,) = traces(figure)
    assert list(bar.x) == [-0.5, 1.0] and list(bar.width) == [1.0, 2.0] and list(bar.y) == [3, 9]
    assert layout(figure).yaxis.type == "log"
    assert layout(figure).title.text == "&lt;neuron&gt;"
    with pytest.raises(ValueError, match="2 counts need as many edges and one, not 2"):
        activations(edges[:2], counts, title="")


def test_neurons_stand_in_order_and_each_model_has_its_colour():
    values = {"a": np.array([3.0, 1.0, 2.0, 4.0]), "b": np.array([5.0, 6.0])}
    figure = neurons.spread(
        values, name="kurtosis", title="", log=True, normal=3.0, normal_name="normal"
    )
    first, second = traces(figure)
    assert list(first.y) == [1, 2, 3, 4] and list(first.x) == [12.5, 37.5, 62.5, 87.5]
    assert [trace.line.color for trace in (first, second)] == list(CATEGORIES[:2])
    assert layout(figure).shapes[0].y0 == 3.0
    assert layout(figure).yaxis.type == "log"


def test_equal_probabilities_lie_on_the_line():
    text, model = np.array([-3.0, -1.0]), np.array([-5.0, -1.0])
    points, line = traces(framework.bigrams(text, model, title=""))
    assert list(points.y) == [-5.0, -1.0]
    assert line.x == line.y == (-5.0, 0)


def test_eigenvalues_are_drawn_over_each_heads_own_largest():
    values = np.array([[2j, -1.0], [0.1, 0.1]])
    first, second = traces(framework.head_eigenvalues(values, ["L0H0", "L0H1"], title=""))
    assert list(first.x) == [0.0, -0.5] and list(first.y) == [1.0, 0.0]
    assert list(second.x) == [1.0, 1.0]
    with pytest.raises(ValueError, match="2 heads need as many names, at least one; got 1"):
        framework.head_eigenvalues(values, ["L0H0"], title="")


def test_copying_is_centred_at_0_and_grey_where_a_head_is_zero():
    scores = np.array([[1.0, np.nan], [-0.5, 0.2]])
    heat, grey = traces(framework.copying(scores, title=""))
    assert (heat.zmin, heat.zmax) == (-1, 1)
    assert np.isnan(grey.z).tolist() == [[True, False], [True, True]]
    counted = framework.copying_histogram(scores, np.zeros(5), title="")
    trained, random = (trace.y for trace in traces(counted))
    assert trained.sum() == random[20] == 100 and trained.max() == pytest.approx(100 / 3)


def test_lifts_stand_beside_their_control():
    figure = framework.lifts(["L0H0"], np.array([3.0]), np.array([1.1]), title="")
    assert [list(trace.y) for trace in traces(figure)] == [[3.0], [1.1]]
    assert layout(figure).shapes[0].y0 == 1
