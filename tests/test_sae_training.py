"""Dictionaries in training: gradients against autograd and SAELens, planted truth, resumption."""

from collections.abc import Callable, Mapping
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
from sae.samples import SINK, Samples, samples
from sae.saved import load_sae, save_sae
from sae.slopes import Rows
from sae.training import Training
from tests.harvests import made_of, planted, text
from workbench import load
from workbench.cache import Store, harvest, live
from workbench.corpus import from_ids
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
    seen, factor = next(found.batches(4096, seed=0))[0].x, float(found.read.factors[0])
    assert float(seen.mean()) == pytest.approx(float(found.mean.mean()) * factor, rel=0.05)
    spread = (seen - found.mean * factor).square().mean()
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
    factor = float(found.read.factors[0])
    training = Training(recipe, found.mean * factor, CPU)
    for _, (batch, _state) in zip(range(9), found.batches(512, seed=0), strict=False):
        training.step(training.slopes(batch.x), len(batch))
    made = folded(training, found, model, {})
    batch = next(found.batches(512, seed=5))[0].x
    slopes = training.slopes(batch)
    out = made(batch / factor) * factor
    if kind in ("batchtopk", "matryoshka"):  # used with a threshold, trained by rank
        assert float(made.codes(batch / factor).latents.numel()) / 512 < 64
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


def test_activations_that_nobody_keeps_train_and_resume_bit_for_bit(
    tiny: Callable[..., Model], tmp_path: Path
):
    """Stopped inside a buffer of the second epoch, whose forwards are done again."""
    small = tiny("llama")
    ids = np.random.default_rng(0).integers(1, 40, (40, 8))
    corpus = from_ids("text", ids, bos_id=0)

    def streamed() -> Samples:
        return samples(list(live(small, corpus, ["0.resid_post"]).values()))

    found, recipe = streamed(), Recipe("batchtopk", 32, 3, steps=20, batch=32)
    trained(tmp_path / "whole", found, small, recipe)
    for done, _total, _rows in train_into(tmp_path / "cut", found, small, [recipe]):
        if done == 13:
            break
    trained(tmp_path / "cut", streamed(), small, recipe, resume=True)
    whole, cut = (load_sae(tmp_path / name / "batchtopk", small) for name in ("whole", "cut"))
    assert torch.equal(whole.W_enc, cut.W_enc) and torch.equal(whole.W_dec, cut.W_dec)
    kept = harvest(small, corpus, ["0.resid_post"], Store(tmp_path / "store"))
    torch.testing.assert_close(found.mean, samples(kept["0.resid_post"]).mean)


def test_sinks_in_what_is_streamed_do_not_train(tiny: Callable[..., Model]):
    small = tiny("llama")
    ids = np.random.default_rng(0).integers(1, 40, (10, 8))
    found = samples(list(live(small, from_ids("text", ids), ["0.resid_post"]).values()))
    norms = found.harvest.contexts(0, 10).norm(dim=-1)[torch.from_numpy(found.train)]
    limit = float(norms.sort().values[-3] + norms.sort().values[-4]) / 2  # three are longer
    strict = replace(found, medians=dict.fromkeys(found.medians, limit / SINK))
    rows = next(strict.batches(10**6, seed=0))[0]
    assert len(rows) == len(norms) - 3
    assert float((rows.x / found.read.factors).norm(dim=-1).max()) < limit


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


@pytest.mark.parametrize("kind", KINDS)
def test_dead_latents_are_begun_anew_from_rows_made_badly(kind: str):
    """Each at a row of its own, with nothing left of its optimiser's past; the others stay."""
    recipe = Recipe(kind, WIDTH, K, 0.3, steps=99, batch=40, aux=0.0, resample=4, warmup=0)
    plain, training = (
        Training(one, drawn(D, seed=1), CPU) for one in (replace(recipe, resample=0), recipe)
    )
    rows = drawn(40, D, seed=9) + drawn(D, seed=1)
    rows[7] *= 30  # by far the worst
    for _ in range(4):
        for one in (plain, training):
            one.silent[5:12] = 10**9
            found = one.slopes(rows)
            found.fired[5:12] = False
            one.step(found, len(rows))
    anew = training.silent == 0
    assert anew[5:12].all() and not training.dead.any() and plain.dead.sum() == 7
    centre = rows - training.weights["b_dec"]
    for name in ("W_dec", "W_enc"):
        row = training.weights[name][5:12]
        cosines = torch.cosine_similarity(row[:, None], centre[None], dim=2)
        torch.testing.assert_close(cosines.amax(1), torch.ones(7), atol=0.05, rtol=0)
        assert len(set(cosines.argmax(1).tolist())) == 7 and 7 in cosines.argmax(1)
        same = [training.weights[name][:5], plain.weights[name][:5]]
        assert torch.equal(*same)
    state = training.state()
    assert not state["adam.W_enc.exp_avg"][5:12].any() and state["adam.W_enc.exp_avg"][:5].any()


def test_none_is_begun_anew_in_the_second_half():
    recipe = Recipe("topk", WIDTH, K, steps=10, batch=40, resample=2)
    training = Training(recipe, drawn(D), CPU)
    rows, given = drawn(40, D, seed=3), []
    for _ in range(10):
        training.silent[:3] = 10**9
        found = training.slopes(rows)
        given.append(found.hardest is not None)
        training.step(found, 40)
    assert given == [False, True, False, True, False, False, False, False, False, False]


@pytest.mark.parametrize("kind", ["batchtopk", "matryoshka"])
@pytest.mark.parametrize("steps", [40, 200])
def test_the_threshold_of_a_short_training_is_that_of_its_end(
    kind: str, steps: int, rows: tuple[Samples, Tensor], model: Model
):
    """Values grow while a dictionary learns: a mean over all of it would be too low a threshold."""
    found, _ = rows
    recipe = Recipe(kind, 64, 4, steps=steps, batch=256)
    training = Training(recipe, found.mean * found.read.factors, CPU)
    for _, (batch, _state) in zip(range(steps), found.batches(256, seed=0), strict=False):
        training.step(training.slopes(batch.x), len(batch))
    made = folded(training, found, model, {})
    x = next(found.batches(4096, seed=5))[0].x / found.read.factors
    assert len(made.codes(x).latents) / len(x) == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("kind", ["standard", "jumprelu", "gated"])
def test_free_decoder_rows_are_folded_to_unit_ones(
    kind: str, rows: tuple[Samples, Tensor], model: Model
):
    found, _ = rows
    factor = float(found.read.factors[0])
    recipe = Recipe(kind, 64, penalty=0.05, steps=30, batch=512, warmup=0, free=True, rate=1e-2)
    training = Training(recipe, found.mean * factor, CPU)
    for _, (batch, _state) in zip(range(30), found.batches(512, seed=0), strict=False):
        training.step(training.slopes(batch.x), len(batch))
    lengths = training.weights["W_dec"].norm(dim=1)
    assert float((lengths - 1).abs().max()) > 0.05, "they were free"
    made = folded(training, found, model, {})
    torch.testing.assert_close(made.W_dec.norm(dim=1), torch.ones(64))
    batch = next(found.batches(512, seed=5))[0].x
    loss = (made(batch / factor) * factor - batch).square().sum() / len(batch)
    expected = training.slopes(batch).losses["reconstruction"]
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


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
            yield Rows(batch.x * (torch.nan if number == 17 else 1)), state

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
    with pytest.raises(InputError, match="free decoder rows of kind topk"):
        Recipe("topk", 64, 3, free=True)
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
