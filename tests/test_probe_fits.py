"""Probes against scikit-learn, planted directions and brute force; what no fit is made of."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NearestCentroid
from torch.testing import assert_close

from probes.fits import FITS, LinearProbe, MLPProbe, Moments, check_probe, direction, fit, fit_sets
from probes.fits.linear import ridge
from probes.fits.logistic import _Problem, minimise
from probes.rows import split
from tests.planted import SITE, binary, drawn, planted, rows_of
from workbench.directions import check_direction
from workbench.errors import InputError
from workbench.hooks import sites
from workbench.sites import Site

OTHER = Site("resid_post", 2)
LINEAR = ("ridge", "logistic", "mean-difference")


def accuracy(probe, rows, part) -> float:
    return float((probe.predict(rows[SITE][part]) == rows.labels[part]).float().mean())


# Equal to scikit-learn


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 300.0])
def test_ridge_is_scikit_learns(alpha: float) -> None:
    rows, _ = planted()
    parts = split(rows.groups)
    probe = fit("ridge", rows, parts, strength=alpha)[SITE]
    x = rows[SITE].double().numpy()
    hot = torch.nn.functional.one_hot(rows.labels).flatten(1).double().numpy()
    train, test = parts.train.numpy(), parts.test.numpy()
    expected = Ridge(alpha=alpha).fit(x[train], hot[train])
    assert isinstance(probe, LinearProbe)
    assert_close(
        probe.weight.flatten(1).T.double(), torch.tensor(expected.coef_), atol=1e-5, rtol=1e-5
    )
    found = probe.scores(rows[SITE][parts.test]).flatten(1).double()
    assert_close(found, torch.tensor(expected.predict(x[test])), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("c", [0.01, 1.0, 10.0])
def test_logistic_is_scikit_learns(classes: int, c: float) -> None:
    rows, _ = planted(classes=classes, noise=1.5)
    parts = split(rows.groups)
    probe = fit("logistic", rows, parts, strength=c)[SITE]
    assert probe.strength == pytest.approx(c)
    train, test = parts.train.numpy(), parts.test.numpy()
    x = rows[SITE].double().numpy()
    shares = probe.scores(rows[SITE][parts.test]).softmax(-1)
    for task in range(2):
        y = rows.labels[:, task].numpy()
        theirs = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(x[train], y[train])
        expected = torch.tensor(theirs.predict_proba(x[test])).float()
        assert_close(shares[:, task], expected, atol=0.02, rtol=0)
        same = (expected.argmax(-1) == shares[:, task].argmax(-1)).float().mean()
        assert float(same) > 0.98


def test_many_questions_at_once_are_each_its_own() -> None:
    rows, _ = planted(tasks=5)
    parts = split(rows.groups)
    for kind, strength in (("ridge", 1.0), ("logistic", 1.0), ("mean-difference", None)):
        together = fit(kind, rows, parts, strength=strength)[SITE]
        for task in range(5):
            alone = replace(rows, labels=rows.labels[:, task : task + 1], tasks=("one",))
            one = fit(kind, alone, parts, strength=strength)[SITE]
            found = together.scores(rows[SITE])[:, task].softmax(-1)
            assert_close(found, one.scores(rows[SITE])[:, 0].softmax(-1), atol=1e-2, rtol=0)


def test_the_mean_difference_answers_the_nearest_mean() -> None:
    rows, _ = planted(tasks=1)
    parts = split(rows.groups)
    probe = fit("mean-difference", rows, parts)[SITE]
    train, test = parts.train.numpy(), parts.test.numpy()
    x, y = rows[SITE].numpy(), rows.labels[:, 0].numpy()
    expected = NearestCentroid().fit(x[train], y[train]).predict(x[test])
    assert np.array_equal(probe.predict(rows[SITE][parts.test])[:, 0].numpy(), expected)


def test_the_threshold_of_a_mean_difference_is_halfway() -> None:
    x = torch.tensor([[0.0, 1], [2, 1], [8, 1], [10, 1], [1, 1], [9, 1]])
    rows = rows_of(x, torch.tensor([0, 0, 1, 1, 0, 1]), each=1)
    everything = replace(split(rows.groups), train=torch.ones(6, dtype=torch.bool))
    probe = fit("mean-difference", rows, everything)[SITE]
    scores = probe.scores(torch.tensor([[5.0, 7], [5.1, 7], [4.9, 7]]))[:, 0]
    assert float(scores[0, 0] - scores[0, 1]) == pytest.approx(0, abs=1e-5)
    assert scores.argmax(-1)[1:].tolist() == [1, 0]
    found = direction(probe, "task0", "b", "a")
    assert_close(found.vector, torch.tensor([8.0, 0]))


# What was planted


@pytest.mark.parametrize("kind", LINEAR)
def test_a_planted_direction_is_recovered(kind: str) -> None:
    rows, unit = binary()
    parts = split(rows.groups)
    probe = fit(kind, rows, parts)[SITE]
    found = direction(probe, "task0", "b", "a")
    assert abs(float(found.unit @ unit)) > 0.99
    assert found.unit @ unit > 0
    assert accuracy(probe, rows, parts.test) > 0.95


def test_an_mlp_reads_what_no_line_can() -> None:
    x = drawn(4000, 6)
    rows = rows_of(x, (x[:, 0] * x[:, 1] > 0).long())
    parts = split(rows.groups)
    found = {kind: accuracy(fit(kind, rows, parts)[SITE], rows, parts.test) for kind in FITS}
    assert found.pop("mlp") > 0.93
    assert max(found.values()) < 0.6


def test_an_mlp_is_drawn_by_its_seed() -> None:
    rows, _ = planted(noise=0.1)
    parts = split(rows.groups)
    one, same, other = (fit("mlp", rows, parts, seed=seed)[SITE] for seed in (1, 1, 2))
    assert isinstance(one, MLPProbe)
    assert torch.equal(one.scores(rows[SITE]), same.scores(rows[SITE]))
    assert not torch.equal(one.scores(rows[SITE]), other.scores(rows[SITE]))
    assert accuracy(one, rows, parts.test) > 0.7


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_a_strength_is_chosen_where_noise_asks_for_one(kind: str) -> None:
    """Few rows, many dimensions, half the labels drawn: an unpenalised fit learns the noise."""
    x, unit = drawn(400, 100), torch.zeros(100)
    unit[0] = 1
    labels = (x @ unit > 0).long().where(drawn(400, seed=3) > 0, (drawn(400, seed=4) > 0).long())
    rows = rows_of(x, labels)
    parts = split(rows.groups, choose=0.3)
    chosen = fit(kind, rows, parts)[SITE]
    weak = fit(kind, rows, parts, strength=1e-6 if kind == "ridge" else 1e6)[SITE]
    cosines = [float(direction(p, "task0", "b", "a").unit @ unit) for p in (chosen, weak)]
    assert cosines[0] > cosines[1] + 0.05


# Streams


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_streamed_equals_whole(sizes: list[int]) -> None:
    rows, _ = planted(n=sum(sizes) + 40)
    whole, streamed = Moments(3), Moments(3)
    whole.add(rows[SITE], rows.labels)
    for x, y in zip(rows[SITE].split([*sizes, 40]), rows.labels.split([*sizes, 40]), strict=True):
        streamed.add(x, y)
    for here, there in zip(ridge(whole, strength=1.0), ridge(streamed, strength=1.0), strict=True):
        assert_close(here, there, atol=1e-9, rtol=1e-9)


def test_summed_squares_are_those_of_the_rows() -> None:
    rows, _ = planted()
    moments = Moments(3)
    moments.add(rows[SITE], rows.labels)
    weight, bias, _ = ridge(moments, strength=5.0)
    hot = torch.nn.functional.one_hot(rows.labels).flatten(1)
    expected = (rows[SITE].double() @ weight + bias - hot).square().sum()
    assert_close(moments.squares(weight, bias), expected)


def test_a_ridge_needs_a_strength_or_rows_to_choose_on() -> None:
    rows, _ = planted()
    moments = Moments(3)
    moments.add(rows[SITE], rows.labels)
    with pytest.raises(InputError, match="needs a strength"):
        ridge(moments)


# Sites and models


def test_every_site_gets_a_probe_of_its_own_width(tiny) -> None:
    rows, _ = planted()
    more = replace(rows, activations={SITE: rows[SITE], OTHER: rows[SITE][:, :5]})
    told: list[tuple[int, int]] = []
    found = fit(
        "ridge", more, split(rows.groups), progress=lambda done, total: told.append((done, total))
    )
    assert {site: probe.width for site, probe in found.items()} == {SITE: 12, OTHER: 5}
    assert told == [(1, 2), (2, 2)]
    with pytest.raises(InputError, match="reads vectors of 5 values, these have 12"):
        found[OTHER].scores(rows[SITE])


def test_a_probe_of_another_model_or_layer_is_refused(tiny) -> None:
    rows, _ = planted(d=24)
    probe = fit("ridge", rows, split(rows.groups), model=tiny("gpt2"))[SITE]
    check_probe(probe, tiny("gpt2"))
    with pytest.raises(InputError, match=r"of another model .*field config: this one has"):
        check_probe(probe, tiny("llama"))
    with pytest.raises(InputError, match="field processing: this one has folded"):
        check_probe(probe, tiny("gpt2", "folded"))
    with pytest.raises(InputError, match="layers run from 0 to 2"):
        check_probe(replace(probe, site=Site("resid_post", 9)), tiny("gpt2"))
    narrow = fit("ridge", planted()[0], split(rows.groups))[SITE]
    with pytest.raises(InputError, match=r"is 12 wide; at 1.resid_post this .* is 24 wide"):
        check_probe(narrow, tiny("gpt2"))
    found = direction(probe, "task0", "a")
    check_direction(found, tiny("gpt2"))
    with pytest.raises(InputError, match="another model"):
        check_direction(found, tiny("llama"))


def test_probes_of_all_heads_and_of_one(tiny) -> None:
    model, site = tiny("llama"), Site("k", 1)
    rows, _ = planted(d=model.architecture.d_head * sites(model)[site])
    every = fit("ridge", rows, split(rows.groups), model=model)[SITE]
    check_probe(replace(every, site=site), model)
    one = Site("k", 1, 0)
    with pytest.raises(InputError, match=r"wide; at L1H0\.k this model .* is \d+ wide"):
        check_probe(replace(every, site=one), model)
    with pytest.raises(InputError, match=r"at 1\.k reads all heads at once.* such as L1H0\.k"):
        direction(replace(every, site=site), "task0", "a")
    rows, _ = planted(d=model.architecture.d_head)
    alone = replace(fit("ridge", rows, split(rows.groups), model=model)[SITE], site=one)
    check_probe(alone, model)
    check_direction(direction(alone, "task0", "a"), model)


def test_directions_by_names_that_are_there() -> None:
    rows, _ = planted()
    parts = split(rows.groups)
    probe = fit("ridge", rows, parts)[SITE]
    assert isinstance(probe, LinearProbe)
    found = direction(probe, "task1", "c")
    assert_close(found.vector, probe.weight[:, 1, 2])
    assert (found.name, found.site, found.model) == ("task1: c", SITE, None)
    with pytest.raises(InputError, match="no task 'x'; it has task0, task1"):
        direction(probe, "x", "a")
    with pytest.raises(InputError, match="no class 'z'; it has a, b, c"):
        direction(probe, "task0", "a", "z")
    with pytest.raises(InputError, match="'mlp' has no direction"):
        direction(fit("mlp", rows, parts)[SITE], "task0", "a")


# What no probe is fitted on


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_activations_that_are_not_finite(kind: str, bad: float) -> None:
    rows, _ = planted()
    rows[SITE][7, 3] = bad
    with pytest.raises(InputError, match=r"1 of 600 samples at 1\.resid_post are not finite"):
        fit(kind, rows, split(rows.groups))


@pytest.mark.parametrize("kind", FITS)
def test_large_values_are_not_called_infinite(kind: str) -> None:
    rows, _ = planted()
    huge = replace(rows, activations={SITE: rows[SITE] * 1e37})
    with pytest.raises(InputError, match=r"at 1\.resid_post hold values as large as .*e\+3"):
        fit(kind, huge, split(rows.groups))


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_scale_of_activations_does_no_harm(kind: str, scale: float) -> None:
    rows, _ = planted()
    parts = split(rows.groups)
    other = replace(rows, activations={SITE: rows[SITE] * scale})
    here, there = (accuracy(fit(kind, r, parts)[SITE], r, parts.test) for r in (rows, other))
    assert there == pytest.approx(here, abs=0.03)


@pytest.mark.parametrize("offset", [3000, 10_000])
@pytest.mark.parametrize("strength", [None, 1.0])
def test_an_offset_does_no_harm(offset: float, strength: float | None) -> None:
    rows, _ = planted()
    parts = split(rows.groups)
    other = replace(rows, activations={SITE: rows[SITE] + offset})
    here, there = (
        accuracy(fit("logistic", r, parts, strength=strength)[SITE], r, parts.test)
        for r in (rows, other)
    )
    assert there == pytest.approx(here, abs=0.02)


def test_a_step_that_no_halving_helps_is_the_last() -> None:
    """A loss that any step raises, as rounding may make it."""
    rows, _ = planted()
    labels = rows.labels

    class Pit(_Problem):
        def loss_gradient(self, labels, theta, penalty):
            loss, gradient = super().loss_gradient(labels, theta, penalty)
            return loss + (theta != self.start(labels)).flatten(0, 1).any(0), gradient

    problem = Pit(rows[SITE], 3, 0)
    start = problem.start(labels)
    found = minimise(problem, labels, 1e-3, start, torch.full((2,), 1e-6))
    assert torch.equal(found, start)


def test_one_class_only() -> None:
    rows = rows_of(drawn(60, 4), torch.ones(60, 1, dtype=torch.long))
    with pytest.raises(InputError, match=r"one class only in training \(b\)"):
        fit("ridge", rows, split(rows.groups))


def test_a_class_that_training_never_shows() -> None:
    labels = torch.arange(60) % 2
    parts = split(rows_of(drawn(60, 4), labels).groups)
    labels[parts.test.nonzero()[0]] = 2
    with pytest.raises(InputError, match="training has no sample of c of task0"):
        fit("ridge", rows_of(drawn(60, 4), labels), parts)
    never = rows_of(drawn(60, 4), torch.arange(60) % 2, n_classes=3)
    with pytest.raises(InputError, match="training has no sample of c of task0"):
        fit("ridge", never, parts)


@pytest.mark.parametrize("kind", FITS)
def test_a_class_that_one_task_never_has(kind: str) -> None:
    """As Othello's middle squares, which are never empty: it is never answered."""
    x = drawn(600, 8)
    labels = torch.stack([(x[:, 0] > 0).long(), x[:, 1:4].argmax(-1)], 1)
    rows = rows_of(x, labels)
    parts = split(rows.groups)
    probe = fit(kind, rows, parts)[SITE]
    answers = probe.predict(rows[SITE])
    assert answers[:, 0].unique().tolist() == [0, 1]
    assert answers[:, 1].unique().tolist() == [0, 1, 2]
    assert accuracy(probe, rows, parts.test) > 0.9


def test_kinds_and_strengths_that_are_none() -> None:
    rows, _ = planted()
    parts = split(rows.groups)
    with pytest.raises(InputError, match="no probe of kind 'svm'; give ridge, logistic"):
        fit("svm", rows, parts)
    with pytest.raises(InputError, match="mlp probe has no strength"):
        fit("mlp", rows, parts, strength=1.0)
    with pytest.raises(InputError, match=r"strength of 0\.0 is none"):
        fit("ridge", rows, parts, strength=0.0)


def test_sets_of_labels_share_a_fit() -> None:
    """Controls beside a probe change nothing of it."""
    rows, _ = planted()
    parts = split(rows.groups)
    both = torch.stack([rows.labels, rows.labels.flip(1)])
    for kind in LINEAR:
        alone = fit(kind, rows, parts)[SITE]
        ((_, (first, second)),) = fit_sets(kind, rows, parts, both)
        assert_close(first.scores(rows[SITE]), alone.scores(rows[SITE]), atol=1e-4, rtol=1e-4)
        same = second.predict(rows[SITE]).flip(1) == first.predict(rows[SITE])
        assert float(same.float().mean()) > 0.97
