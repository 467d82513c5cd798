"""Grokking: the fast loop against the native module, files, Fourier, progress, clock and pizza."""

import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from workbench.errors import InputError
from workbench.hooks import run
from workbench.labs.grokking import (
    Grokking,
    GrokkingTraining,
    Weights,
    accuracy,
    algorithm,
    answers,
    basis_names,
    circle,
    distance_irrelevance,
    efficiency,
    embedding_gini,
    fourier_basis,
    frequency_norms,
    frequency_shares,
    from_native,
    gini,
    gradient_symmetricity,
    key_frequencies,
    logits,
    measure,
    neurons,
    patterns,
    spectrum,
    split,
    to_native,
    ungrok,
)
from workbench.labs.grokking.fast import examples, loss
from workbench.labs.grokking.progress import by_sum, turning
from workbench.models import load
from workbench.models.native import network
from workbench.training import Recipe, Training, changed, train_into

SMALL = Grokking(p=7, fraction=0.6, d_model=16, heads=2, d_mlp=32, steps=40, every=10)


def shaken(recipe: Grokking = SMALL) -> GrokkingTraining:
    """A training whose weights are large enough that attention and ReLU matter."""
    training = recipe.begin("cpu")
    assert isinstance(training, GrokkingTraining)
    drawn = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for value in training.parameters.values():
            value += 0.4 * torch.randn(value.shape, generator=drawn)
    return training


def dense(weights: Weights, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pattern, activations and logits of pairs, written out without any table."""
    last = torch.full_like(a, weights.p)
    stream = weights.W_E[torch.stack((a, b, last), 1)] + weights.W_pos
    q = torch.einsum("nd,hdk->nhk", stream[:, 2], weights.W_Q)
    k, v = (torch.einsum("nsd,hdk->nhsk", stream, w) for w in (weights.W_K, weights.W_V))
    scores = torch.einsum("nhk,nhsk->nhs", q, k) / weights.W_Q.shape[2] ** 0.5
    share = weights.attention
    pattern = share * scores.softmax(-1) + (1 - share) / 3
    mid = stream[:, 2] + torch.einsum("nhs,nhsk,hkd->nd", pattern, v, weights.W_O)
    post = (mid @ weights.W_in).relu()
    return pattern, post, (mid + post @ weights.W_out) @ weights.W_U


def all_pairs(p: int) -> tuple[Tensor, Tensor]:
    pairs = torch.arange(p * p)
    return pairs // p, pairs % p


# --- the loop ------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [7, 10])
def test_loss_and_gradients_are_the_native_modules(p: int):
    training = shaken(replace(SMALL, p=p))
    module = network(training.shape)
    own = dict(module.named_parameters())
    with torch.no_grad():
        for name, value in training.parameters.items():
            own[name].copy_(value)
    a, b = training.train // p, training.train % p
    ids = torch.stack((a, b, torch.full_like(a, p)), 1)
    expected = torch.nn.functional.cross_entropy(module(ids)[:, -1], (a + b) % p)
    expected.backward()
    found = loss(from_native(training.parameters, 2), training.over)
    found.backward()
    assert abs(float(found.detach() - expected.detach())) < 1e-5
    for name, value in training.parameters.items():
        grad, wanted = value.grad, own[name].grad
        assert grad is not None and wanted is not None
        assert (grad - wanted).abs().max() < 1e-5, name


@pytest.mark.parametrize("attention", [0.0, 0.3, 1.0])
def test_mixed_attention_is_that_of_a_plain_network(attention: float):
    training = shaken(replace(SMALL, attention=attention))
    a, b = training.train // 7, training.train % 7
    plain = {n: v.detach().clone().requires_grad_() for n, v in training.parameters.items()}
    *_, out = dense(from_native(plain, 2, attention), a, b)
    expected = torch.nn.functional.cross_entropy(out, (a + b) % 7)
    expected.backward()
    found = loss(from_native(training.parameters, 2, attention), training.over)
    found.backward()
    assert abs(float(found.detach() - expected.detach())) < 1e-5
    for name, value in training.parameters.items():
        grad = plain[name].grad
        if grad is None:  # queries and keys have no part in constant attention
            grad = torch.zeros_like(value)
        assert value.grad is not None and (value.grad - grad).abs().max() < 1e-5, name


def test_activations_of_all_pairs_are_those_of_a_plain_network():
    weights = shaken(replace(SMALL, attention=0.4)).weights()
    expected = dense(weights, *all_pairs(7))
    for found, wanted in zip(
        (patterns(weights), neurons(weights), logits(weights)), expected, strict=True
    ):
        assert torch.allclose(found.flatten(0, 1), wanted, atol=1e-5)


def test_a_saved_model_answers_the_same_through_the_bridge(tmp_path: Path):
    training = shaken()
    training.save(tmp_path / "model", {"about": "a test"})
    model = load(str(tmp_path / "model"), device="cpu")
    a, b = all_pairs(7)
    ids = torch.stack((a, b, torch.full_like(a, 7)), 1)
    found = run(model, ids).logits
    assert found is not None
    assert torch.allclose(found[:, -1], logits(training.weights()).flatten(0, 1), atol=1e-5)
    assert model.tokenize("3 6 =").ids == (3, 6, 7)


def test_the_split_is_drawn_from_the_seed_and_nested():
    train, test = split(11, 0.3, 4)
    assert len(train) == round(0.3 * 121)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(121))
    fewer, _ = split(11, 0.1, 4)
    assert set(fewer.tolist()) < set(train.tolist())
    assert split(11, 0.3, 5)[0].tolist() != train.tolist()
    assert answers(11, torch.tensor([10 * 11 + 4])).tolist() == [3]


def test_a_stopped_training_goes_on_bit_for_bit():
    whole = SMALL.begin("cpu")
    losses = [float(step.loss) for step in whole.steps()]
    stopped = SMALL.begin("cpu")
    for _ in islice(stopped.steps(), 17):
        pass
    kept = {name: value.clone() for name, value in stopped.state().items()}
    again = SMALL.begin("cpu")
    again.restore(kept, 17)
    assert [float(step.loss) for step in again.steps()] == losses[17:]
    for name, value in whole.state().items():
        assert torch.equal(value, again.state()[name]), name


def test_another_recipes_state_is_refused():
    other = replace(SMALL, d_mlp=8).begin("cpu")
    with pytest.raises(InputError, match=r"layers.0.mlp.fc_in.weight, .* another shape"):
        SMALL.begin("cpu").restore(other.state(), 0)


def test_train_into_keeps_the_ladder(tmp_path: Path):
    rows = [row for _, row in train_into(tmp_path, SMALL, device="cpu") if row]
    assert rows[-1].step == 40
    assert set(rows[-1].metrics) == {
        *("train loss", "train accuracy", "test loss", "test accuracy", "Gini", "weight norm")
    }
    rungs = sorted(int(one.name) for one in (tmp_path / "ladder").iterdir())
    assert rungs == [0, 3, 6, 9, 10, 20, 30, 40]


def test_random_labels_can_only_be_memorised():
    recipe = replace(SMALL, labels="random", weight_decay=0.0, rate=0.01, steps=150)
    training = recipe.begin("cpu")
    for _ in training.steps():
        pass
    found = training.metrics()
    assert found["train accuracy"] > 0.95 and found["test accuracy"] < 0.5


def test_recipes_and_trainings_are_of_the_trainers_kind():
    assert isinstance(SMALL, Recipe) and isinstance(SMALL.begin("cpu"), Training)
    assert changed(SMALL, {"p": "59", "attention": "0"}).numbers()["p"] == 59


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("p", 4, "p 4 \\(from 5 to 257\\)"),
        ("fraction", 1.5, "fraction 1.5 \\(from 0.01 to 1\\)"),
        ("attention", -1.0, "attention -1"),
        ("rate", float("nan"), "rate nan"),
        ("heads", 3, "d_model 16 \\(a multiple of heads, 3\\)"),
        ("labels", "odd", "labels odd \\(sum or random\\)"),
    ],
)
def test_a_knob_out_of_range_is_refused_with_its_range(field: str, value: object, told: str):
    with pytest.raises(InputError, match=told):
        replace(SMALL, **{field: value})


def test_a_share_that_is_no_pair_is_refused():
    with pytest.raises(InputError, match=r"fraction 0.01 \(of 25 pairs that is none\)"):
        replace(SMALL, p=5, fraction=0.01)


def test_all_wrong_knobs_are_listed():
    with pytest.raises(InputError, match=r"p 300 .*weight_decay -1.0 .*steps 0"):
        Grokking(p=300, weight_decay=-1.0, steps=0)


def test_no_compiling():
    with pytest.raises(InputError, match="not compiled"):
        SMALL.begin("cpu", compiled=True)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("device", ["cuda"])
def test_a_step_on_the_device_is_that_of_the_cpu(device: str):
    one, other = (replace(SMALL, steps=1).begin(where) for where in ("cpu", device))
    for training in (one, other):
        assert [step.done for step in training.steps()] == [1]
    assert one.metrics() == pytest.approx(other.metrics(), rel=1e-3)
    for name, value in one.state().items():
        assert torch.allclose(value, other.state()[name].cpu(), atol=1e-4), name


# --- Fourier -------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [7, 10])
def test_the_basis_is_orthonormal_and_named(p: int):
    basis = fourier_basis(p)
    assert torch.allclose(basis @ basis.T, torch.eye(p), atol=1e-5)
    names = basis_names(p)
    assert len(names) == p and names[:3] == ["1", "cos 1", "sin 1"]
    assert names[-1] == ("sin 3" if p == 7 else "cos 5")


@pytest.mark.parametrize(("p", "k"), [(7, 2), (10, 3), (10, 5)])
def test_a_planted_wave_is_found(p: int, k: int):
    t = torch.arange(p)
    wave = torch.stack(((2 * math.pi * k * t / p + 0.3).cos(), torch.ones(p)), 1)
    norms = frequency_norms(wave)
    assert int(norms.argmax()) == k - 1
    assert float(norms.square().sum()) == pytest.approx(float(wave[:, 0].square().sum()), rel=1e-4)
    assert float(norms.sum() - norms.max()) < 1e-4


def test_the_circle_of_a_planted_frequency_is_round():
    t = torch.arange(7)
    angle = 2 * math.pi * 3 * t / 7
    into = torch.linalg.qr(torch.randn(16, 2, generator=torch.Generator().manual_seed(0)))[0].T
    found = circle(torch.stack((angle.cos(), angle.sin()), 1) @ into, 3)
    assert torch.allclose(found, torch.stack((angle.cos(), angle.sin()), 1), atol=1e-5)


def test_the_spectrum_of_a_product_of_waves_is_one_cell():
    names = basis_names(7)
    basis = fourier_basis(7)
    one, other = names.index("cos 2"), names.index("sin 3")
    found = spectrum(basis[one][:, None] * basis[other])
    assert float(found[one, other]) == pytest.approx(1)
    assert float(found.abs().sum()) == pytest.approx(1, abs=1e-4)


def test_gini_from_equal_to_all_in_one():
    assert gini(torch.ones(20)) == pytest.approx(0)
    assert gini(torch.eye(20)[3]) == pytest.approx(0.95)
    assert gini(torch.zeros(20)) == 0


# --- progress measures ---------------------------------------------------------------------------


def waves(p: int, *keys: int) -> Tensor:
    """Logits that are the sum of cos w(a + b - c)."""
    a, b, c = torch.meshgrid(*[torch.arange(p)] * 3, indexing="ij")
    return torch.stack([(2 * math.pi * k * (a + b - c) / p).cos() for k in keys]).sum(0)


@pytest.mark.parametrize("p", [11, 12])
def test_shares_of_planted_frequencies(p: int):
    found = 3 * waves(p, 2) + waves(p, 5) + 7  # a constant is no variance
    shares = frequency_shares(found)
    assert shares[1] == pytest.approx(0.9, abs=1e-4) and shares[4] == pytest.approx(0.1, abs=1e-4)
    assert key_frequencies(shares) == (2, 5)
    assert torch.allclose(turning(found, (2, 5)) + 7, by_sum(found).double(), atol=1e-4)
    assert float(turning(found, (1, 3)).abs().max()) < 1e-4


def test_shares_do_not_see_what_no_softmax_sees():
    noise = torch.randn(11, 11, 1, generator=torch.Generator().manual_seed(0))
    found = torch.cat((waves(11, 2) + 5 * noise, noise), -1)  # and an output for "="
    assert frequency_shares(found)[1] == pytest.approx(1, abs=1e-4)


def test_random_weights_are_at_chance_and_have_no_key_frequencies():
    training = replace(SMALL, p=59, d_model=64, d_mlp=128).begin("cpu")
    weights = training.weights()
    keys = key_frequencies(frequency_shares(logits(weights)))
    assert keys == ()
    found = measure(weights, training.train, keys)
    assert found.test_accuracy < 0.06 and found.test_loss == pytest.approx(math.log(60), abs=0.1)
    assert found.restricted == pytest.approx(math.log(60), abs=0.1)
    assert found.excluded == found.train_loss and found.fve == 0
    assert found.gini == embedding_gini(weights) < 0.15


def test_measures_are_those_of_the_trainings_log():
    training = shaken()
    found, told = measure(training.weights(), training.train, ()), training.metrics()
    assert found.train_loss == pytest.approx(told["train loss"])
    assert found.test_accuracy == told["test accuracy"]
    assert found.norm == told["weight norm"]


# --- clocks and pizzas ---------------------------------------------------------------------------


def test_constant_attention_is_symmetric():
    weights = shaken(replace(SMALL, attention=0.0)).weights()
    assert gradient_symmetricity(weights) == pytest.approx(1, abs=1e-5)
    assert gradient_symmetricity(shaken().weights()) < 0.9


def test_gradients_are_those_of_a_plain_network():
    weights = shaken().weights()
    drawn = torch.randint(7, (3, 50), generator=torch.Generator().manual_seed(3))
    cosines = []
    for a, b, c in drawn.T.tolist():
        given = weights.W_E[[a, b]].clone().requires_grad_()
        # a and b as two tokens of their own, so that a = b has two gradients
        own = replace(weights, W_E=torch.cat((given, weights.W_E[-1:])))
        out = dense(own, torch.tensor([0]), torch.tensor([1]))[2][0, c]
        grad = torch.autograd.grad(out, given)[0]
        cosines.append(float(torch.cosine_similarity(grad[0], grad[1], dim=0)))
    mean = sum(cosines) / len(cosines)
    assert gradient_symmetricity(weights, 50, seed=3) == pytest.approx(mean, abs=1e-4)


def test_distance_irrelevance_of_planted_logits():
    p = 9
    a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")

    def correct(values: Tensor) -> Tensor:
        return torch.zeros(p, p, p).scatter(2, ((a + b) % p)[..., None], values[..., None])

    assert distance_irrelevance(correct(((a - b) % p).float())) == pytest.approx(0, abs=1e-6)
    assert distance_irrelevance(correct(((a + b) % p).float())) == pytest.approx(1)
    assert distance_irrelevance(torch.ones(p, p, p)) == 0
    shifted = correct(((a + b) % p).float()) + 9.0 * ((a - b) % p)[..., None]
    assert distance_irrelevance(shifted) == pytest.approx(1), "what no softmax sees"


def test_where_the_numbers_disagree_it_is_neither():
    found = algorithm(shaken(replace(SMALL, attention=0.0)).weights())
    assert found.symmetricity == pytest.approx(1)
    assert replace(found, irrelevance=0.9).name == "neither"
    assert replace(found, irrelevance=0.1).name == "pizza"
    assert replace(found, symmetricity=0.2, irrelevance=0.9).name == "clock"


# --- efficiency ----------------------------------------------------------------------------------


def test_efficiency_by_hand():
    weights = shaken().weights()
    pairs, wanted = torch.tensor([8, 20]), torch.tensor([2, 3])
    found = logits(weights).flatten(0, 1)[pairs]
    expected = (found[0, 2] - found[0].mean() + found[1, 3] - found[1].mean()) / 2
    told = efficiency(weights, pairs, wanted)
    assert told.margin == pytest.approx(float(expected), abs=1e-5)
    squares = sum(float(value.square().sum()) for value in to_native(weights).values())
    assert told.per_norm == pytest.approx(float(expected) / squares**0.5, rel=1e-5)


def test_ungrokking_starts_from_the_weights_on_a_part_of_the_pairs():
    weights = shaken().weights()
    training = ungrok(weights, SMALL, 0.2, steps=5, device="cpu")
    assert torch.equal(logits(training.weights()), logits(weights))
    assert set(training.train.tolist()) < set(split(7, 0.6, 0)[0].tolist())
    assert len([*training.steps()]) == 5
    found = logits(training.weights()).flatten(0, 1)[training.train]
    assert accuracy(found, answers(7, training.train)) >= 0


def test_ungrokking_wants_fewer_pairs_and_the_same_sizes():
    weights = shaken().weights()
    with pytest.raises(InputError, match=r"0.7 is not below 0.6"):
        ungrok(weights, SMALL, 0.7, steps=5)
    with pytest.raises(InputError, match=r"W_E is \(8, 16\), expected \(9, 16\)"):
        ungrok(weights, replace(SMALL, p=8), 0.1, steps=5)


def test_examples_look_up_each_pair():
    pairs = torch.tensor([0, 9, 48])
    over = examples(7, 2, pairs, answers(7, pairs), torch.device("cpu"))
    assert over.rows.tolist() == [[0, 1, 14, 15], [2, 3, 18, 19], [12, 13, 26, 27]]
    assert over.users.tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]
    assert len(over) == 3
