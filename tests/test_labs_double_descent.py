"""Toy models on few points: the data, what is trained, and where points and features lie."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from workbench.errors import InputError
from workbench.labs.double_descent import (
    DOUBLE_DESCENT,
    DoubleDescent,
    drawn_sets,
    hidden,
    losses,
    peak,
    sparse,
)
from workbench.labs.superposition import BatchedTraining, polygon
from workbench.registry import listed, resolve
from workbench.training import Recipe, changed, train_into

SMALL = DoubleDescent(points="3,6", features=20, density=0.3, repeats=2, steps=8, warmup=2)


def begun(recipe: DoubleDescent) -> BatchedTraining:
    return recipe.begin("cpu")


def test_points_are_sparse_and_of_norm_one():
    x = sparse(0, 2000, 2, 50, 0.1)
    assert x.shape == (2, 2000, 50)
    assert abs(float((x > 0).float().mean()) - 0.1) < 0.01
    lengths = x.norm(dim=-1)
    assert bool(((lengths - 1).abs() < 1e-5).logical_or(lengths == 0).all())
    assert not torch.equal(x[0], x[1])
    assert not torch.equal(sparse(0, 2000, 2, 50, 0.1, held_out=True), x)
    assert torch.equal(sparse(0, 2000, 2, 50, 0.1), x)
    empty = sparse(0, 200, 1, 2, 1e-4)[0]
    assert bool((empty == 0).all(1).any()) and bool(empty.isfinite().all())


def test_the_whole_set_is_seen_at_each_step():
    training = begun(SMALL)
    first, again = training.task.batches(0), training.task.batches(7)
    assert [x.shape for _, x in first] == [(2, 3, 20), (2, 6, 20)]
    for (place, x), (_, same), points in zip(first, again, SMALL.sets, strict=True):
        assert torch.equal(x, same) and torch.equal(x, SMALL.data(points))
        assert (place.stop - place.start) == 2


def test_sets_side_by_side_are_sets_alone():
    together, alone = begun(SMALL), begun(replace(SMALL, points="6"))
    for one in (together, alone):
        for _ in one.steps():
            pass
    assert_close(together.by_cell("weight")[1], alone.by_cell("weight")[0], rtol=1e-4, atol=1e-6)
    assert SMALL.examples(8) == 8 * 9


def test_losses_are_the_models():
    training = begun(SMALL)
    for _ in training.steps():
        pass
    found = losses(training, examples=40)
    weight, bias = training.by_cell("weight"), training.by_cell("bias")
    fresh = sparse(0, 40, 1, 20, 0.3, held_out=True)[0]
    for place, points in enumerate(SMALL.sets):
        for repeat in range(2):
            w, b = weight[place, repeat], bias[place, repeat]
            for x, loss in ((SMALL.data(points)[repeat], found.train), (fresh, found.test)):
                answer = torch.relu(x @ w.T @ w + b)
                assert_close(loss[place, repeat], (answer - x).square().sum(1).mean())


def test_five_points_become_a_pentagon_and_features_do_not():
    """The phenomenon itself, at its own size; before training there is none."""
    recipe = replace(DOUBLE_DESCENT, points="5", repeats=2, steps=700)
    training, data = begun(recipe), recipe.data(5)
    before = training.by_cell("weight")[0]
    for _ in training.steps():
        pass
    after = training.by_cell("weight")[0]
    assert float(losses(training).train.max()) < 0.02
    for first, last, x in zip(before, after, data, strict=True):
        assert not polygon(hidden(first, x), 0.0).regular(5, spread=0.1)
        assert polygon(hidden(last, x)).regular(5, degrees=12.0)
        assert len(polygon(last, 0.5 * float(last.norm(dim=0).max())).angles) != 5


def test_a_stopped_training_continues_bit_for_bit(tmp_path: Path):
    for _ in train_into(tmp_path / "whole", SMALL, device="cpu"):
        pass
    for step, _ in train_into(tmp_path / "parts", SMALL, device="cpu"):
        if step.done == 3:
            break
    for _ in train_into(tmp_path / "parts", SMALL, device="cpu", resume=True):
        pass
    whole, parts = (
        (tmp_path / side / "model" / "model.safetensors").read_bytes()
        for side in ("whole", "parts")
    )
    assert whole == parts
    card = json.loads((tmp_path / "whole" / "model" / "card.json").read_text())
    assert replace(SMALL, **card["recipe"]) == SMALL


def test_the_recipe_is_listed_and_is_one():
    recipe = resolve(listed("recipes")["double-descent"])
    assert isinstance(recipe, Recipe) and recipe == DOUBLE_DESCENT


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"points": "three"}, "points 'three' is no list of numbers"),
        ({"points": "3,0"}, "points 0 cannot be; they are from 1 to 100000"),
        ({"points": "3,4.5"}, "points 4.5 is no whole number"),
        ({"features": "1", "density": "0"}, r"features 1 \(.*\), density 0.0 \(from 0.0001"),
        ({"points": "100000", "repeats": "100"}, "numbers of data; the limit is"),
    ],
)
def test_knobs_out_of_range_are_refused(settings: dict[str, str], told: str):
    with pytest.raises(InputError, match=told):
        changed(DOUBLE_DESCENT, settings)


def test_a_peak_is_between_the_ends():
    assert peak(torch.tensor([1.0, 3.0, 6.0, 2.0])) == (2, 3.0)
    at, factor = peak(torch.tensor([4.0, 2.0, 1.0]))
    assert at == 1 and factor == 0.5  # no double descent
    with pytest.raises(ValueError, match="at least 3 losses, got 2"):
        peak(torch.ones(2))


def test_a_few_sets_are_drawn_from_the_first_to_the_last():
    assert drawn_sets(range(16)) == [0, 3, 6, 9, 12, 15]
    assert drawn_sets([3, 5]) == [0, 1] and drawn_sets([3]) == [0] and drawn_sets([]) == []


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
def test_a_step_on_another_device(device: str):
    here, there = SMALL.begin("cpu"), SMALL.begin(device)
    one, other = (next(iter(training.steps())).loss for training in (here, there))
    assert_close(other.cpu(), one, rtol=1e-4, atol=1e-6)
    assert_close(there.weights["weight"].cpu(), here.weights["weight"], rtol=1e-3, atol=1e-4)
