"""Toy models of superposition: data, gradients, training, and what is read from weights."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from workbench.errors import InputError
from workbench.labs.superposition import (
    ABSOLUTE_VALUE,
    PHASE_DIAGRAM,
    PHASES,
    SUPERPOSITION,
    AbsoluteValue,
    BatchedTraining,
    Features,
    PhaseDiagram,
    Superposition,
    best,
    chance_near_plates,
    cost_of_a_pair,
    cost_of_ignoring,
    costs,
    crossing,
    dimensionality,
    dimensions_per_feature,
    expected,
    found,
    gradients,
    gram,
    interference,
    near_plates,
    norms,
    polygon,
    purity,
    signed,
    toy_from,
    trained,
)
from workbench.labs.superposition.absolute import AbsoluteModel
from workbench.labs.superposition.relu_output import narrow
from workbench.labs.superposition.spread import spread
from workbench.registry import listed, resolve
from workbench.training import Recipe, changed, train_into

SMALL = Superposition(
    features=4, hidden=2, densities="1,0.3", repeats=3, batch=64, steps=12, warmup=2
)
ABSOLUTE = AbsoluteValue(
    features=4, neurons=3, densities="1,0.3", repeats=2, batch=64, steps=12, warmup=2
)


def regular(corners: int) -> Tensor:
    """Unit vectors evenly around the plane."""
    angles = 2 * math.pi * torch.arange(corners) / corners
    return torch.stack([angles.cos(), angles.sin()])


# --- data ----------------------------------------------------------------------------------------


def test_features_are_present_with_their_density_and_uniform_there():
    density = torch.tensor([[1.0, 0.5, 0.1], [0.2, 0.2, 0.2]])
    x = Features(density, repeats=2).draw(0, 0, 20_000)
    assert x.shape == (4, 20_000, 3)
    present = (x > 0).float().mean(1)
    assert_close(present, density.repeat_interleave(2, 0), atol=0.015, rtol=0)
    for instance in range(4):
        for feature in range(3):
            values = x[instance, :, feature]
            values = values[values > 0]
            assert abs(float(values.mean()) - 0.5) < 0.03
            assert abs(float(values.var()) - 1 / 12) < 0.01


def test_cells_of_a_repeat_share_draws_and_repeats_do_not():
    x = Features(torch.tensor([[0.4, 0.4], [0.4, 0.4]]), repeats=2).draw(0, 0, 50)
    assert torch.equal(x[0], x[2]) and torch.equal(x[1], x[3])
    assert not torch.equal(x[0], x[1])


@pytest.mark.parametrize("grouping", ["independent", "correlated", "anticorrelated"])
def test_both_layouts_hold_the_same_numbers(grouping: str):
    features = Features(torch.full((3, 5), 0.3), repeats=2, grouping=grouping, size=2)  # type: ignore[arg-type]
    assert_close(
        features.draw(1, 2, 40), features.draw(1, 2, 40, instances_last=True), rtol=0, atol=0
    )
    assert not torch.equal(features.draw(1, 2, 40), features.draw(1, 3, 40))
    assert not torch.equal(features.draw(1, 2, 40), features.draw(2, 2, 40))


def test_correlated_features_come_together_and_keep_their_own_values():
    x = Features(torch.full((1, 4), 0.3), grouping="correlated", size=2).draw(0, 0, 4000)[0]
    present = x > 0
    assert torch.equal(present[:, 0], present[:, 1]) and torch.equal(present[:, 2], present[:, 3])
    assert not torch.equal(present[:, 0], present[:, 2])
    assert abs(float(present.float().mean()) - 0.3) < 0.02
    both = x[present[:, 0]]
    assert abs(np.corrcoef(both[:, 0], both[:, 1])[0, 1]) < 0.1


def test_anticorrelated_features_come_one_at_a_time():
    x = Features(torch.full((1, 4), 0.3), grouping="anticorrelated", size=2).draw(0, 0, 4000)[0]
    present = x > 0
    assert int((present[:, :2].sum(1)).max()) == 1
    assert_close(present.float().mean(0), torch.full((4,), 0.3), atol=0.03, rtol=0)
    values = x[:, 1][present[:, 1]]
    assert float(values.min()) > 0 and float(values.max()) < 1
    assert abs(float(values.mean()) - 0.5) < 0.03


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "n"), [(1, 2), (2, 3), (2, 5), (7, 30)])
def test_gradients_are_autograds(m: int, n: int, monkeypatch: pytest.MonkeyPatch):
    """Of both kernels, a batch in slices, features of unequal importance."""
    seeded = torch.Generator().manual_seed(0)
    weight = torch.randn(6, m, n, generator=seeded, requires_grad=True)
    bias = torch.randn(6, n, generator=seeded, requires_grad=True)
    importance = torch.rand(6, n, generator=seeded)
    x = Features(torch.full((3, n), 0.4), repeats=2).draw(0, 0, 33, instances_last=narrow(m, n))
    answer = torch.relu(x @ weight.mT @ weight + bias[:, None])
    loss = ((answer - x).square() * importance[:, None]).sum(2).mean(1)
    loss.sum().backward()
    for size in (2**18, 6 * n * 7):
        monkeypatch.setattr("workbench.labs.superposition.relu_output._SLICE", size)
        ours = gradients(weight.detach(), bias.detach(), x, importance)
        for one, other in zip(ours, (loss.detach(), weight.grad, bias.grad), strict=True):
            assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_gradients_of_absolute_values_are_autograds():
    model = AbsoluteModel(3)
    weights = model.initial(0, 4, 5)
    weights = {name: (one + 0.1).requires_grad_() for name, one in weights.items()}
    x = Features(torch.full((2, 5), 0.4), repeats=2).draw(0, 0, 40)
    importance = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    neurons = torch.relu(signed(x) @ weights["w_in"].mT)
    answer = torch.relu(neurons @ weights["w_out"].mT + weights["bias"][:, None])
    loss = ((answer - signed(x).abs()).square() * importance[:, None]).sum(2).mean(1)
    loss.sum().backward()
    plain = {name: one.detach() for name, one in weights.items()}
    found_loss, by_name = model.gradients(plain, x, importance)
    assert_close(found_loss, loss.detach())
    for name, value in by_name.items():
        assert_close(value, weights[name].grad, rtol=1e-4, atol=1e-6)


def test_signed_features_are_even_around_zero():
    x = signed(Features(torch.full((1, 2), 0.5)).draw(0, 0, 20_000))
    assert_close(x.mean((0, 1)), torch.zeros(2), atol=0.01, rtol=0)
    assert float(x.min()) < -0.99 and float(x.max()) > 0.99
    assert abs(float((x == 0).float().mean()) - 0.5) < 0.01


# --- training ------------------------------------------------------------------------------------


def begun(recipe: Superposition | PhaseDiagram | AbsoluteValue) -> BatchedTraining:
    return recipe.begin("cpu")


def test_instances_side_by_side_are_instances_alone():
    """A cell with its repeats is what it would be without the others."""
    together, alone = begun(SMALL), begun(replace(SMALL, densities="0.3"))
    for one in (together, alone):
        assert [step.done for step in one.steps()] == list(range(1, 13))
    assert_close(together.by_cell("weight")[1], alone.by_cell("weight")[0], rtol=1e-4, atol=1e-6)


def test_the_first_step_is_adams():
    training = begun(replace(SMALL, weight_decay=0.1))
    weight = training.weights["weight"].clone().requires_grad_()
    bias = training.weights["bias"].clone().requires_grad_()
    (_, x), = training.task.batches(0)  # fmt: skip
    importance = training.task.importance.repeat_interleave(3, 0)
    loss = (torch.relu(x @ weight.mT @ weight + bias[:, None]) - x).square() * importance[:, None]
    loss.sum(2).mean(1).sum().backward()
    torch.optim.AdamW([weight, bias], lr=0.5 * SMALL.rate, weight_decay=0.1).step()
    step = next(training.steps())
    assert_close(step.loss, loss.sum(2).mean().detach())
    assert_close(training.weights["weight"], weight.detach(), rtol=1e-4, atol=1e-6)
    assert_close(training.weights["bias"], bias.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("recipe", [SMALL, ABSOLUTE], ids=lambda one: one.name)
def test_a_stopped_training_continues_bit_for_bit(
    recipe: Superposition | AbsoluteValue, tmp_path: Path
):
    for _ in train_into(tmp_path / "whole", recipe, device="cpu"):
        pass
    for step, _ in train_into(tmp_path / "parts", recipe, device="cpu"):
        if step.done == 5:
            break
    for _ in train_into(tmp_path / "parts", recipe, device="cpu", resume=True):
        pass
    whole, parts = (
        load_file(tmp_path / side / "model" / "model.safetensors") for side in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    card = json.loads((tmp_path / "whole" / "model" / "card.json").read_text())
    assert card["metrics"]["best"] <= card["metrics"]["held-out loss"]
    assert replace(recipe, **card["recipe"]) == recipe


def test_a_checkpoint_of_another_shape_is_refused():
    state = begun(SMALL).state()
    with pytest.raises(InputError, match=r"weight is of shape \(6, 2, 4\), expected \(6, 2, 5\)"):
        begun(replace(SMALL, features=5)).restore(state, 0)


def test_rates_rise_and_fall_to_nothing():
    recipe = replace(SMALL, steps=100, warmup=10)
    scales = [recipe.scale(step) for step in range(100)]
    assert scales[0] == 0.1 and scales[10] == 1.0 and scales[-1] < 0.001
    assert scales[55] == pytest.approx(0.5)


def test_training_makes_a_pentagon_of_what_was_none():
    """The phenomenon itself, and its control: the same weights before training."""
    training = begun(replace(SUPERPOSITION, densities="0.05", repeats=2, batch=256, steps=700))
    before = training.by_cell("weight")[0]
    for _ in training.steps():
        pass
    for untrained, after in zip(before, training.by_cell("weight")[0], strict=True):
        assert not polygon(untrained, 0.0).regular(5)
        assert polygon(after).regular(5)
    assert float(training.losses().max()) < 0.01


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"features": "0", "rate": "7"}, r"features 0 \(from 1 to 1,000\), rate 7.0"),
        ({"densities": "1,0"}, "densities 0 cannot be; they are from 0.0001 to 1"),
        ({"densities": "dense"}, "is no list of numbers; give one such as 1,0.3,0.1"),
        ({"grouping": "odd"}, "known: independent, correlated, anticorrelated"),
        ({"grouping": "anticorrelated"}, "give at most 0.5"),
        ({"batch": "65536", "repeats": "1000"}, "too many for a step"),
    ],
)
def test_knobs_out_of_range_are_refused(settings: dict[str, str], told: str):
    with pytest.raises(InputError, match=told):
        changed(SUPERPOSITION, settings).begin("cpu")


def test_every_recipe_is_listed_and_is_one():
    names = [name for name in listed("recipes") if name.startswith(("superposition", "absolute"))]
    assert len(names) == 6
    for name in names:
        recipe = resolve(listed("recipes")[name])
        assert isinstance(recipe, Recipe) and recipe.name == name
        json.dumps(recipe.numbers())


@given(some.floats(1e-3, 1), some.floats(1e-3, 1), some.integers(2, 30))
@settings(max_examples=30, deadline=None)
def test_a_range_has_its_ends_and_equal_ratios(first: float, last: float, count: int):
    found = spread("p", f"{first!r}..{last!r} in {count}", 1e-4, 2.0)
    assert len(found) == count
    assert found[0] == pytest.approx(first, rel=1e-5)
    assert found[-1] == pytest.approx(last, rel=1e-5)
    ratios = np.diff(np.log(found))
    assert np.allclose(ratios, ratios[0], atol=1e-4)


@pytest.mark.parametrize("text", ["", ",", "1..2", "0..1 in 3", "1..0.1 in 0", "1..0.1 in 5000"])
def test_what_is_no_range_is_refused(text: str):
    with pytest.raises(InputError, match="p "):
        spread("p", text, 0.1, 1.0)


# --- geometry ------------------------------------------------------------------------------------


def test_geometry_by_hand():
    """A digon, an orthogonal feature, one of length 2, one without a direction."""
    weight = torch.tensor([[1.0, -1, 0, 0], [0, 0, 2, 0]])
    assert norms(weight).tolist() == [1, 1, 2, 0]
    assert interference(weight).tolist() == [1, 1, 0, 0]
    assert dimensionality(weight).tolist() == [0.5, 0.5, 1, 0]
    assert float(dimensions_per_feature(weight)) == pytest.approx(2 / 6)
    assert gram(weight)[0].tolist() == [1, -1, 0, 0]


@pytest.mark.parametrize("corners", [3, 4, 5, 8])
def test_a_regular_polygon_shares_its_plane_evenly(corners: int):
    weight = regular(corners)
    assert_close(dimensionality(weight), torch.full((corners,), 2 / corners))
    found = polygon(weight)
    assert found.regular(corners, degrees=1e-3) and found.spread < 1e-6
    assert not found.regular(corners + 1)


@given(some.integers(1, 6), some.integers(1, 12), some.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_dimensionalities_add_up_to_the_rank_at_most(m: int, n: int, seed: int):
    weight = torch.randn(3, m, n, generator=torch.Generator().manual_seed(seed))
    assert float(dimensionality(weight).sum(-1).max()) <= min(m, n) + 1e-4


def test_functions_of_weights_take_what_becomes_a_tensor():
    weight = np.array([[1.0, -1.0], [0.0, 0.0]])
    assert dimensionality(weight).tolist() == [0.5, 0.5]
    assert polygon([[1.0, -1.0], [0.0, 0.0]]).angles.tolist() == [180, 180]
    with pytest.raises(ValueError, match=r"needs vectors \[2, n\], got shape \(3, 4\)"):
        polygon(torch.ones(3, 4))


def test_a_polygon_leaves_out_short_vectors_and_sees_unevenness():
    pentagon = regular(5)
    with_short = torch.cat([pentagon, 0.1 * regular(3)], dim=1)
    assert polygon(with_short).regular(5)
    bent = pentagon.clone()
    bent[:, 0] = torch.tensor([math.cos(0.3), math.sin(0.3)])
    assert not polygon(bent).regular(5)
    long = pentagon * torch.tensor([1.2, 1, 1, 1, 1])
    assert polygon(long).regular(5) and not polygon(long).regular(5, spread=0.1)
    assert polygon(torch.zeros(2, 4)).spread == math.inf


def test_near_plates_counts_features_that_are_there():
    values = torch.tensor([[0.5, 0.41, 0.66, 0.9, 0.0]])
    assert near_plates(values).tolist() == [0.75]
    assert abs(float(near_plates(torch.rand(1, 50_000))) - chance_near_plates()) < 0.01


# --- phases --------------------------------------------------------------------------------------


def test_closed_forms_are_what_the_model_loses():
    """By sampling: one feature kept and one ignored, and a pair back to back."""
    p, r = 0.4, 0.7
    x = Features(torch.full((1, 2), p)).draw(0, 0, 400_000, instances_last=True)
    importance = torch.tensor([[1.0, r]])
    alone = gradients(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[0.0, p / 2]]), x, importance)[0]
    pair = gradients(torch.tensor([[[1.0, -1.0]]]), torch.zeros(1, 2), x, importance)[0]
    assert float(alone) == pytest.approx(r * float(cost_of_ignoring(p)), rel=0.01)
    assert float(pair) == pytest.approx(float(cost_of_a_pair(p, r)), rel=0.01)


def test_a_pair_and_one_alone_cost_the_same_at_the_crossing():
    assert crossing() == pytest.approx(4 / 7)
    for r in (0.2, 0.9, 1.0):
        p = crossing(r)
        assert float(r * cost_of_ignoring(p)) == pytest.approx(float(cost_of_a_pair(p, r)))


def test_phases_by_importance_and_density():
    p, r = torch.tensor([1.0, 1.0, 0.05]), torch.tensor([0.1, 10.0, 0.9])
    assert [PHASES[phase] for phase in expected(2, p, r)] == list(PHASES)
    assert [PHASES[phase] for phase in expected(3, p, r)] == list(PHASES)
    # With three features the other two make room as a pair: cheaper than leaving one out.
    sparse, important = torch.tensor([0.2]), torch.tensor([8.0])
    assert float(costs(3, sparse, important)[1]) < float(costs(2, sparse, important)[1])
    with pytest.raises(ValueError, match="at least 2 features"):
        costs(1, p, r)


def test_phases_of_weights():
    weight = torch.tensor([[[1.0, 0.1]], [[0.1, 1.0]], [[1.0, -1.0]]])
    assert found(weight).tolist() == [0, 1, 2]
    losses = torch.tensor([[1.0, 0.5], [0.1, 0.2], [3.0, 3.0]])
    kept = best(losses, torch.stack([weight, 2 * weight], dim=1))
    assert torch.equal(kept[0], 2 * weight[0]) and torch.equal(kept[1], weight[1])


def test_a_small_diagram_is_the_expected_one_away_from_the_lines():
    recipe = replace(
        PHASE_DIAGRAM, densities="1,0.05", importances="0.1,10", steps=300, repeats=6, warmup=10
    )
    training = begun(recipe)
    for _ in training.steps():
        pass
    weight = best(training.losses().view(-1, 6), training.by_cell("weight"))
    assert [PHASES[phase] for phase in found(weight)] == [
        *("ignored", "own dimension", "superposition", "superposition")
    ]


# --- absolute values -----------------------------------------------------------------------------


def test_purity_by_hand():
    w_in = torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0, 0]])
    assert purity(w_in).tolist() == [1, 0.5, 0]


def test_two_neurons_for_each_feature_compute_absolute_values():
    recipe = replace(ABSOLUTE_VALUE, features=2, neurons=6, densities="0.5", repeats=2,
                     steps=600, importance=1.0, rate=0.03)  # fmt: skip
    training = begun(recipe)
    before = training.losses()
    for _ in training.steps():
        pass
    assert float(training.losses().max()) < 0.02 * float(before.min())


# --- other people's checkpoints ------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("stacked", [False, True])
def test_a_foreign_checkpoint_is_read_by_its_names(tmp_path: Path, turned: bool, stacked: bool):
    weight = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    bias = torch.arange(5.0)
    given = weight.T if turned else weight
    given = given.expand(3, *given.shape) if stacked else given
    save_file({"W": given.contiguous(), "b_final": bias}, tmp_path / "toy.safetensors")
    names = {"weight": "W", "bias": "b_final"}
    toys = toy_from(tmp_path / "toy.safetensors", names=names)
    assert toys.weight.shape == (3 if stacked else 1, 2, 5)
    assert torch.equal(toys.weight[-1], weight) and torch.equal(toys.bias[-1], bias)


def test_a_square_weight_is_taken_as_it_stands_and_a_missing_bias_is_zero(tmp_path: Path):
    weight = torch.arange(9.0).view(3, 3)
    save_file({"weight": weight}, tmp_path / "model.safetensors")
    toys = toy_from(tmp_path)
    assert torch.equal(toys.weight[0], weight) and not toys.bias.any()
    save_file({"weight": torch.ones(3, 5)}, tmp_path / "model.safetensors")
    assert toy_from(tmp_path, features=3).weight.shape == (1, 5, 3)


def test_what_does_not_fit_is_refused_with_shapes(tmp_path: Path):
    path = tmp_path / "toy.safetensors"
    with pytest.raises(InputError, match="there is no checkpoint at"):
        toy_from(path)
    path.write_bytes(b"no")
    with pytest.raises(InputError, match="is no safetensors file"):
        toy_from(path)
    save_file({"W": torch.ones(2, 5), "b": torch.ones(4), "v": torch.ones(3)}, path)
    with pytest.raises(InputError, match=r"has no tensor 'weight'; it has W, b, v"):
        toy_from(path)
    for names, told in (
        ({"weight": "W", "bias": "bais"}, "has no tensor 'bais'; it has W, b, v"),
        ({"weight": "W", "bias": "b"}, "holds v, which nothing asked for"),
        ({"weight": "W"}, "holds b, v, which nothing asked for"),
        ({"wieght": "W"}, "names maps wieght; it can map weight and bias"),
    ):
        with pytest.raises(InputError, match=told):
            toy_from(path, names=names)


@pytest.mark.parametrize(
    ("tensors", "sizes", "told"),
    [
        ({"weight": torch.ones(3)}, {}, r"'weight' has shape \(3,\), expected \[m, n\] or"),
        ({"weight": torch.ones(2, 5), "bias": torch.ones(4)}, {},
         r"'bias' has shape \(4,\), expected \(1, 5\) or \(5,\)"),
        ({"weight": torch.ones(2, 5), "bias": torch.tensor(1.0)}, {}, r"'bias' has shape \(\),"),
        ({"weight": torch.ones(2, 5)}, {"features": 5, "hidden": 3}, "expected .* n = 5, m = 3"),
        ({"weight": torch.full((2, 5), torch.nan)}, {}, "weight has values that are no numbers"),
        ({"weight": torch.ones(2, 5, dtype=torch.complex64)}, {}, r"holds weight \(complex64\)"),
        ({"weight": torch.ones(2, 5, dtype=torch.int64)}, {}, r"holds weight \(int64\)"),
    ],
)  # fmt: skip
def test_a_tensor_that_does_not_fit_is_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], sizes: dict[str, int], told: str
):
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=told):
        toy_from(tmp_path, features=sizes.get("features"), hidden=sizes.get("hidden"))


def test_trained_again_is_the_recipe_here_and_now():
    again, alone = trained(SMALL, "superposition/densities", again=True), begun(SMALL)
    for _ in alone.steps():
        pass
    assert torch.equal(again.by_cell("weight"), alone.by_cell("weight"))


def test_a_recipe_other_than_the_shipped_one_is_refused():
    with pytest.raises(InputError, match="shipped with other steps"):
        trained(replace(SUPERPOSITION, steps=7), "superposition/densities")
    with pytest.raises(InputError, match="no toy models 'superposition/none' are shipped"):
        trained(SUPERPOSITION, "superposition/none")


@pytest.mark.parametrize(
    "device",
    [
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.cuda,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
            ],
        )
    ],
)
@pytest.mark.parametrize("recipe", [SMALL, replace(PHASE_DIAGRAM, repeats=1), ABSOLUTE],
                         ids=lambda one: one.name)  # fmt: skip
def test_a_step_on_another_device(
    recipe: Superposition | PhaseDiagram | AbsoluteValue, device: str
):
    here, there = recipe.begin("cpu"), recipe.begin(device)
    losses = [next(iter(one.steps())).loss for one in (here, there)]
    assert_close(losses[1].cpu(), losses[0], rtol=1e-4, atol=1e-6)
    for name, value in here.weights.items():
        assert_close(there.weights[name].cpu(), value, rtol=1e-3, atol=1e-4)
