"""Dictionaries in training: gradients against autograd and SAELens, planted truth, resumption."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sae_lens import (
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedTrainingSAE,
    GatedTrainingSAEConfig,
    JumpReLUTrainingSAE,
    JumpReLUTrainingSAEConfig,
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
    StandardTrainingSAE,
    StandardTrainingSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.saes.sae import TrainStepInput
from torch import Tensor

from sae.dictionary import SAE
from sae.folding import folded
from sae.recipe import KINDS, Recipe
from sae.run import train_into
from sae.samples import Samples, samples
from sae.saved import load_sae, save_sae
from sae.training import Training
from tests.harvests import made_of, planted, text
from workbench import load
from workbench.errors import InputError
from workbench.models import Model

D, WIDTH, K = 16, 64, 6
CPU = torch.device("cpu")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def begun(kind: str, k: int = K, steps: int = 5) -> Training:
    """A dictionary after a few steps on noise, a good part of its latents counted as dead."""
    recipe = Recipe(kind, WIDTH, k, 0.3, steps=99, batch=40, aux=0.7, dead_after=60, warmup=0)
    training = Training(recipe, drawn(D, seed=1), CPU)
    for step in range(steps):
        rows = drawn(40, D, seed=10 + step) + drawn(D, seed=1)
        training.step(training.slopes(rows), len(rows))
    return training


PEERS = {
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig),
    "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig),
    "matryoshka": (MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig),
    "standard": (StandardTrainingSAE, StandardTrainingSAEConfig),
    "jumprelu": (JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig),
    "gated": (GatedTrainingSAE, GatedTrainingSAEConfig),
}
OWN: Mapping[str, dict] = {
    "topk": {"k": K, "aux_loss_coefficient": 0.7, "rescale_acts_by_decoder_norm": False},
    "batchtopk": {"k": K, "aux_loss_coefficient": 0.7, "rescale_acts_by_decoder_norm": False},
    "matryoshka": {
        "k": K,
        "aux_loss_coefficient": 0.7,
        "rescale_acts_by_decoder_norm": False,
        "matryoshka_widths": [4, 8, 16, 32, 64],
    },
    "standard": {},
    "jumprelu": {"jumprelu_bandwidth": 0.05, "jumprelu_sparsity_loss_mode": "step"},
    "gated": {},
}
COEFFICIENTS = {"standard": {"l1": 0.3}, "jumprelu": {"l0": 0.3}, "gated": {"l1": 0.3}}


@pytest.mark.parametrize(("kind", "k"), [*((kind, K) for kind in KINDS), ("topk", WIDTH - 4)])
def test_gradients_are_saelens(kind: str, k: int):
    """Loss and gradient of every weight, dead latents learning what is left included.

    With many latents chosen, some of them are below 0: they give nothing and learn nothing.
    """
    training = begun(kind, k)
    rows = drawn(40, D, seed=99) + drawn(D, seed=1)
    made, config = PEERS[kind]
    own = {**OWN[kind], **({"k": k} if kind == "topk" else {})}
    peer = made(config(d_in=D, d_sae=WIDTH, apply_b_dec_to_input=True, **own))
    names = {"b_enc": "b_mag"} if kind == "gated" else {}
    with torch.no_grad():
        for name, weight in training.weights.items():
            value = weight.T if name == "W_enc" else weight
            getattr(peer, names.get(name, name)).copy_(value)
    training.silent[::3] = 60
    dead = training.dead
    out = peer.training_forward_pass(
        TrainStepInput(rows, COEFFICIENTS.get(kind, {}), dead, 1, False)
    )
    out.loss.backward()
    found = training.slopes(rows)
    assert found.loss == pytest.approx(float(out.loss.detach()), rel=1e-5)
    for name in training.weights:
        grad = getattr(peer, names.get(name, name)).grad
        expected = grad.T if name == "W_enc" else grad
        scale = float(expected.abs().max())
        torch.testing.assert_close(found.by_weight[name], expected, rtol=1e-4, atol=2e-6 * scale)


def test_bfloat16_selection_keeps_exact_values():
    training = begun("topk")
    rows = drawn(40, D, seed=99) + drawn(D, seed=1)
    exact = training.slopes(rows)
    training.recipe = replace(training.recipe, bfloat16=True)
    chosen = training.slopes(rows)
    assert chosen.loss == pytest.approx(exact.loss, rel=0.02)
    assert chosen.by_weight["W_dec"].dtype == torch.float32


def test_decoder_rows_stay_unit_and_move_across_themselves():
    training = begun("topk")
    before = training.weights["W_dec"].clone()
    norms = training.weights["W_dec"].norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(WIDTH))
    rows = drawn(40, D, seed=7)
    found = training.slopes(rows)
    training.step(found, 40)
    assert not torch.equal(before, training.weights["W_dec"])
    along = (found.by_weight["W_dec"] * before).sum(1)
    assert float(along.abs().max()) < 1e-5 * float(found.by_weight["W_dec"].norm())


@pytest.fixture(scope="module")
def model() -> Model:
    return load("induction-by-hand")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Samples, Tensor]:
    """Sums of few planted features, as a harvest: what trains, and the features."""
    corpus = text(2000, 21)
    found, features = planted(corpus.n_tokens)
    shaped = 3.0 * found.view(*corpus.ids.shape, -1) + 2.0
    shaped[:, 0] = 1000.0  # BOS is a sink in real models
    return samples(made_of(tmp_path_factory.mktemp("planted"), shaped, corpus, 500)), features


def trained(folder: Path, rows: Samples, model: Model, *recipes: Recipe, **more) -> None:
    for _ in train_into(folder, rows, model, recipes, **more):
        pass


def test_neither_bos_nor_held_out_documents_train(rows: tuple[Samples, Tensor]):
    found, _ = rows
    assert not found.train[:, 0].any() and not found.held_out[:, 0].any()
    assert not (found.train & found.held_out).any()
    documents = found.harvest.corpus.documents
    assert not set(documents[found.train]) & set(documents[found.held_out])
    seen = next(found.batches(4096, seed=0))[0]
    assert float(seen.mean()) == pytest.approx(float(found.mean.mean()) * found.factor, rel=0.05)
    spread = (seen - found.mean * found.factor).square().mean()
    assert float(spread) == pytest.approx(1.0, rel=0.05)


def test_sinks_inside_the_text_are_left_out(tmp_path: Path):
    corpus = text(40)
    shaped = drawn(40, 6, 8)
    shaped[3, 2] *= 500
    found = samples(made_of(tmp_path, shaped, corpus))
    assert found.n_sinks == 1 and not found.train[3, 2] and not found.held_out[3, 2]


@pytest.mark.parametrize("kind", ["topk", "batchtopk"])
def test_a_planted_dictionary_is_found(
    kind: str, rows: tuple[Samples, Tensor], model: Model, tmp_path: Path
):
    """Bricken et al. 2023's check: 64 features in 32 dimensions, about two active at a time."""
    found, features = rows
    recipe = Recipe(kind, 64, 2, steps=600, batch=512, rate=3e-3, dead_after=5000)
    trained(tmp_path / "made", found, model, recipe)
    made = load_sae(tmp_path / "made" / kind)
    similar = (features @ made.W_dec.T).amax(1)
    assert float(similar.mean()) > 0.9
    held = found.harvest.contexts(0, 2000)[torch.from_numpy(found.held_out)]
    fvu = (made(held) - held).square().sum() / (held - held.mean(0)).square().sum()
    l0 = len(made.codes(held).latents) / len(held)
    assert float(fvu) < (0.1 if kind == "batchtopk" else 0.15)  # not all rows have two
    assert l0 == pytest.approx(64 * 0.03, rel=0.3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_is_folded_in(kind: str, rows: tuple[Samples, Tensor], model: Model):
    """What is saved does to the model's rows what training did to scaled ones."""
    found, _ = rows
    recipe = Recipe(kind, 64, 4, penalty=0.05, steps=9, batch=512, warmup=0)
    training = Training(recipe, found.mean * found.factor, CPU)
    for _, (batch, _state) in zip(range(9), found.batches(512, seed=0), strict=False):
        training.step(training.slopes(batch), len(batch))
    made = folded(training, found, model, {})
    batch, _ = next(found.batches(512, seed=5))
    slopes = training.slopes(batch)
    out = made(batch / found.factor) * found.factor
    if kind in ("batchtopk", "matryoshka"):  # used with a threshold, trained by rank
        assert float(made.codes(batch / found.factor).latents.numel()) / 512 < 64
        return
    loss = (out - batch).square().sum() / len(batch)
    assert float(loss) == pytest.approx(float(slopes.losses["reconstruction"]), rel=1e-4)


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "gated"])
def test_a_stopped_training_continues_bit_for_bit(
    kind: str, rows: tuple[Samples, Tensor], model: Model, tmp_path: Path
):
    found, _ = rows
    recipe = Recipe(kind, 256, 1, penalty=0.1, steps=60, batch=256, dead_after=512)
    trained(tmp_path / "whole", found, model, recipe)
    for done, _total, _rows in train_into(tmp_path / "cut", found, model, [recipe]):
        if done == 33:
            break
    trained(tmp_path / "cut", found, model, recipe, resume=True)
    whole, cut = (load_sae(tmp_path / name / kind) for name in ("whole", "cut"))
    for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"):
        one, other = getattr(whole, name), getattr(cut, name)
        assert one is other is None or (one == other).all()
    assert whole.card["log"] == cut.card["log"]
    dead = [row["n_dead"] for row in whole.card["log"] if 25 < row["step"] < 40]
    assert kind == "gated" or max(dead) > 0, "the counters must matter where it was cut"


def test_one_that_was_killed_before_it_was_saved_is_saved_on_resuming(
    rows: tuple[Samples, Tensor], model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found, _ = rows
    both = [Recipe("topk", width, 3, steps=5, batch=256) for width in (32, 64)]
    saved = []

    def killed(sae: SAE, folder: Path) -> None:
        if saved:
            raise KeyboardInterrupt
        saved.append(folder)
        save_sae(sae, folder)

    monkeypatch.setattr("sae.run.save_sae", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", found, model, *both)
    monkeypatch.undo()
    trained(tmp_path / "cut", found, model, *both, resume=True)
    trained(tmp_path / "whole", found, model, *both)
    for name in ("width32", "width64"):
        one, other = (load_sae(tmp_path / folder / name) for folder in ("cut", "whole"))
        assert torch.equal(one.W_dec, other.W_dec)


def test_several_read_each_row_once_and_are_what_they_are_alone(
    rows: tuple[Samples, Tensor], model: Model, tmp_path: Path
):
    found, _ = rows
    several = [Recipe("topk", width, 3, steps=20, batch=256) for width in (32, 64)]
    trained(tmp_path / "both", found, model, *several)
    trained(tmp_path / "one", found, model, several[1])
    both, one = load_sae(tmp_path / "both" / "width64"), load_sae(tmp_path / "one" / "topk")
    assert torch.equal(both.W_dec, one.W_dec)


def test_a_loss_that_is_not_finite_stops_with_a_kept_state(
    rows: tuple[Samples, Tensor], model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found, _ = rows
    recipe = Recipe("topk", 64, 3, steps=60, batch=256)
    plain = Samples.batches

    def spoiled(self: Samples, size: int, **more):
        for number, (batch, state) in enumerate(plain(self, size, **more)):
            yield batch * (torch.nan if number == 17 else 1), state

    monkeypatch.setattr(Samples, "batches", spoiled)
    with pytest.raises(InputError, match=r"not finite at step 18 .*'row': 4352"):
        trained(tmp_path / "made", found, model, recipe)
    monkeypatch.undo()
    trained(tmp_path / "made", found, model, recipe, resume=True)
    trained(tmp_path / "whole", found, model, recipe)
    one, other = (load_sae(tmp_path / name / "topk") for name in ("made", "whole"))
    assert torch.equal(one.W_enc, other.W_enc)


def test_what_cannot_be_trained_is_said(rows: tuple[Samples, Tensor], model: Model, tmp_path: Path):
    found, _ = rows
    with pytest.raises(InputError, match="k 65 of 64 latents"):
        Recipe("topk", 64, 65)
    with pytest.raises(InputError, match="rows to train on, a batch is 99,999"):
        trained(tmp_path / "a", found, model, Recipe(batch=99_999))
    with pytest.raises(InputError, match="no training to resume"):
        trained(tmp_path / "a", found, model, Recipe(), resume=True)
    with pytest.raises(InputError, match="the same steps"):
        trained(tmp_path / "a", found, model, Recipe(steps=3), Recipe(steps=4))
    trained(tmp_path / "b", found, model, Recipe("topk", 64, 3, steps=2, batch=64))
    with pytest.raises(InputError, match="holds a training already"):
        trained(tmp_path / "b", found, model, Recipe("topk", 64, 3, steps=2, batch=64))
    with pytest.raises(InputError, match="of another training"):
        trained(tmp_path / "b", found, model, Recipe("topk", 64, 4, steps=2, batch=64), resume=True)
    (tmp_path / "b" / "state.safetensors").unlink()
    with pytest.raises(InputError, match="holds topk already"):
        trained(tmp_path / "b", found, model, Recipe("topk", 64, 3, steps=2, batch=64))


def test_activations_that_are_not_finite_are_refused(tmp_path: Path):
    shaped = drawn(40, 6, 8)
    shaped[5, 3, 1] = np.inf
    with pytest.raises(InputError, match="not finite, first in context 5"):
        samples(made_of(tmp_path, shaped, text(40)))
