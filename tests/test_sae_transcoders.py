"""Transcoders and crosscoders: gradients, planted truth, scales folded in, files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from torch import Tensor

from sae.folding import folded
from sae.judging import judge
from sae.recipe import KINDS, Recipe
from sae.run import train_into
from sae.samples import Samples, samples
from sae.saved import load_sae
from sae.training import Training
from tests.harvests import made_of, planted, text
from workbench import load
from workbench.cache import Store, harvest
from workbench.corpus import from_ids
from workbench.errors import InputError
from workbench.hooks import Edit, run
from workbench.metrics import token_loss
from workbench.models import Model
from workbench.sites import Site

D_IN, D_OUT, WIDTH, K = 12, 8, 40, 5
CPU = torch.device("cpu")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> Model:
    return load("induction-by-hand")


def plainly(training: Training, x: Tensor, y: Tensor) -> Tensor:
    """The loss of a transcoder, written out with every zero; latents chosen by topk."""
    w, recipe = training.weights, training.recipe
    raw = x @ w["W_enc"].T
    pre = raw + w["b_enc"]

    def made(acts: Tensor) -> Tensor:
        return acts @ w["W_dec"] + w["b_dec"] + x @ w["skip"].T

    def error(acts: Tensor) -> Tensor:
        return (made(acts) - y).square().sum(1).mean()

    if recipe.kind == "topk":
        kept = torch.zeros_like(pre).scatter(1, pre.topk(K).indices, 1.0)
        return error(kept * pre.relu())
    if recipe.kind in ("batchtopk", "matryoshka"):
        least = pre.flatten().topk(K * len(x)).values[-1]
        acts = (pre >= least) * pre.relu()
        edges = torch.arange(WIDTH)
        return torch.stack([error(acts * (edges < edge)) for edge in recipe.edges]).sum()
    norms = w["W_dec"].norm(dim=1)
    if recipe.kind == "standard":
        return error(pre.relu()) + recipe.penalty * (pre.relu() @ norms).mean()
    gate = (raw + w["b_gate"]).relu()
    acts = (gate > 0) * (raw * w["r_mag"].exp() + w["b_enc"]).relu()
    return error(acts) + recipe.penalty * (gate @ norms).mean() + error(gate)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "jumprelu"])
def test_gradients_are_those_of_the_loss_written_out(kind: str):
    recipe = Recipe(kind, WIDTH, K, 0.3, batch=30, warmup=0, aux=0.0, skip=True)
    training = Training(recipe, drawn(D_OUT, seed=1), CPU, D_IN)
    x, y = drawn(30, D_IN, seed=2), drawn(30, D_OUT, seed=3)
    for _ in range(3):  # away from a skip of zeros
        training.step(training.slopes(x, y), 30)
    for weight in training.weights.values():
        weight.requires_grad_()
    loss = plainly(training, x, y)
    expected = torch.autograd.grad(loss, list(training.weights.values()))
    for weight in training.weights.values():
        weight.requires_grad_(False)
    found = training.slopes(x, y)
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, grad in zip(training.weights, expected, strict=True):
        scale = float(grad.abs().max())
        torch.testing.assert_close(found.by_weight[name], grad, rtol=1e-4, atol=2e-6 * scale)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Samples, Tensor, Tensor]:
    """y is what 24 units, few at a time, write for the directions in x, and a linear part."""
    corpus = text(1200, 21)
    x, unit = planted(corpus.n_tokens, features=24, d=16, p=0.08)
    out = torch.nn.functional.normalize(drawn(24, 10, seed=5), dim=1)
    y = ((x @ unit.T - 0.3).relu() @ out) + x @ (0.2 * drawn(16, 10, seed=6)) + 1.0
    folder = tmp_path_factory.mktemp("pair")
    shape = corpus.ids.shape
    read = made_of(folder, 5 * x.view(*shape, -1) + 2, corpus, 400, "1.mlp_in")
    wanted = made_of(folder, 30 * y.view(*shape, -1), corpus, 400, "1.mlp_out")
    return samples(read, wanted), unit, out


def trained(folder: Path, rows: Samples, model: Model, recipe: Recipe, **more) -> None:
    for _ in train_into(folder, rows, model, [recipe], **more):
        pass


def explained(made, rows: Samples) -> float:
    x, y = (
        torch.cat([end.rows.contexts(0, 1200)[torch.from_numpy(rows.held_out)]])
        for end in (rows.read, rows.wanted)
    )
    return 1 - float((made(x) - y).square().sum() / (y - y.mean(0)).square().sum())


@pytest.mark.parametrize("skip", [True, False])
def test_a_transcoder_learns_what_a_layer_does(
    skip: bool, pair: tuple[Samples, Tensor, Tensor], model: Model
):
    """A skip does the linear part; without one latents have to, and tell less of the layer."""
    rows, _, out = pair
    recipe = Recipe("batchtopk", 24, 2, steps=500, batch=512, rate=1e-2, skip=skip)
    training = Training(recipe, rows.wanted.mean * rows.wanted.factors, CPU, 16)
    for _, (batch, _) in zip(range(500), rows.batches(512, seed=0), strict=False):
        training.step(training.slopes(batch.x, batch.y), 512)
    made = folded(training, rows, model, {})
    similar = float((out @ made.W_dec.T).amax(1).mean())
    assert (made.skip is not None) == skip
    assert explained(made, rows) > 0.9
    assert similar > 0.85 if skip else similar < 0.85
    if skip:
        assert made.name == "the transcoder from 1.mlp_in to 1.mlp_out"
    assert float(made.direction(3).unit @ made.W_dec[3]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_scales_of_a_transcoder_are_folded_in(
    kind: str, pair: tuple[Samples, Tensor, Tensor], model: Model
):
    rows, _, _ = pair
    recipe = Recipe(kind, 32, 4, penalty=0.05, steps=9, batch=256, warmup=0, skip=True)
    training = Training(recipe, rows.wanted.mean * rows.wanted.factors, CPU, 16)
    for _, (batch, _) in zip(range(9), rows.batches(256, seed=0), strict=False):
        training.step(training.slopes(batch.x, batch.y), 256)
    made = folded(training, rows, model, {})
    batch, _ = next(rows.batches(256, seed=5))
    assert batch.y is not None
    if kind in ("batchtopk", "matryoshka"):  # used with a threshold, trained by rank
        training.recipe = Recipe("jumprelu", 32, skip=True)
        training.weights["threshold"] = torch.full((32,), float(training.least[0]))
    slopes = training.slopes(batch.x, batch.y)
    out = made(batch.x / rows.read.factors + rows.mean) * rows.wanted.factors
    loss = (out - batch.y).square().sum() / len(out)
    assert float(loss) == pytest.approx(float(slopes.losses["reconstruction"]), rel=1e-4)


def test_a_crosscoder_finds_what_two_layers_share(tmp_path: Path, model: Model):
    """The same 40 features at two sites, in other directions and of another scale."""
    corpus = text(1200, 21)
    both, unit = planted(corpus.n_tokens, features=40, d=48, p=0.04)
    scales = (1.0, 50.0)
    found = [
        made_of(
            tmp_path, (scale * part).view(*corpus.ids.shape, -1), corpus, 400, f"{i}.resid_post"
        )
        for i, (scale, part) in enumerate(zip(scales, both.split(24, 1), strict=True))
    ]
    rows = samples(found)
    recipe = Recipe("batchtopk", 40, 2, steps=500, batch=512, rate=5e-3)
    trained(tmp_path / "made", rows, model, recipe)
    made = load_sae(tmp_path / "made" / "batchtopk")
    assert [str(site) for site in made.reads] == ["0.resid_post", "1.resid_post"]
    truth = torch.cat([s * part for s, part in zip(scales, unit.split(24, 1), strict=True)], 1)
    similar = torch.nn.functional.cosine_similarity(truth[:, None], made.W_dec[None], dim=2)
    assert float(similar.amax(1).mean()) > 0.9
    x = rows.harvest.contexts(0, 300)[torch.from_numpy(rows.held_out[:300])]
    for part, width in zip((x - made(x)).split(24, 1), (x - x.mean(0)).split(24, 1), strict=True):
        assert float(part.square().sum() / width.square().sum()) < 0.15
    with pytest.raises(InputError, match="writes at 2 sites"):
        made.direction(0)


def test_a_stopped_transcoder_continues_bit_for_bit(
    pair: tuple[Samples, Tensor, Tensor], model: Model, tmp_path: Path
):
    rows, _, _ = pair
    recipe = Recipe("topk", 64, 2, steps=60, batch=256, dead_after=512, resample=9, skip=True)
    trained(tmp_path / "whole", rows, model, recipe)
    for done, _, _ in train_into(tmp_path / "cut", rows, model, [recipe]):
        if done == 16:
            break
    trained(tmp_path / "cut", rows, model, recipe, resume=True)
    whole, cut = (load_sae(tmp_path / name / "topk") for name in ("whole", "cut"))
    for name in ("W_enc", "b_enc", "W_dec", "b_dec", "skip"):
        assert torch.equal(getattr(whole, name), getattr(cut, name))
    x = rows.harvest.contexts(0, 20).flatten(0, 1)
    assert whole.card["recipe"]["resample"] == 9
    torch.testing.assert_close(whole(x), cut(x))


def read_by(rows: Samples, n: int = 1200) -> tuple[Tensor, Tensor]:
    kept = torch.from_numpy(rows.held_out[:n])
    x, y = (end.rows.contexts(0, n)[kept] for end in (rows.read, rows.wanted))
    return x, y


@pytest.fixture(scope="module")
def real(tiny: Callable[..., Model], tmp_path_factory: pytest.TempPathFactory):
    """A tiny Llama, a text, and what it has at both ends of a layer and after two."""
    small = tiny("llama")
    ids = np.random.default_rng(0).integers(1, 40, (60, 8))
    corpus = from_ids("text", ids, bos_id=0)
    store = Store(tmp_path_factory.mktemp("store"))
    sites = ["1.mlp_in", "1.mlp_out", "0.resid_post", "1.resid_post"]
    return small, corpus, harvest(small, corpus, sites, store).harvests


def test_a_transcoder_is_judged_where_it_writes(real, tmp_path: Path):
    """Losses as when its output is put there by hand; beside it the best linear map."""
    small, corpus, found = real
    rows = samples(found[Site.parse("1.mlp_in")], found[Site.parse("1.mlp_out")])
    trained(tmp_path / "made", rows, small, Recipe("topk", 64, 4, steps=30, batch=64, skip=True))
    made = load_sae(tmp_path / "made" / "topk", small)
    told = judge(made, rows, small, contexts=None)
    assert set(told.fits) == {"SAE", "linear map"}
    x, y = read_by(rows, 60)
    fvu = float((made(x) - y).square().sum() / (y - y.mean(0)).square().sum())
    assert told.fits["SAE"].fvu == pytest.approx(fvu, rel=1e-4)
    train = torch.from_numpy(rows.train)
    a, b = (end.rows.contexts(0, 60)[train].numpy() for end in (rows.read, rows.wanted))
    best = LinearRegression().fit(a, b).predict(x.numpy())
    left = float((torch.from_numpy(best) - y).square().sum() / (y - y.mean(0)).square().sum())
    assert told.fits["linear map"].fvu == pytest.approx(left, rel=1e-3)
    ids = torch.from_numpy(corpus.ids.astype(np.int64))
    clean = run(small, ids, read=["1.mlp_in", "1.mlp_out"])
    there = clean["1.mlp_out"].clone()
    text_rows = torch.from_numpy(corpus.documents >= 0) & (
        there.norm(dim=-1) <= 4 * rows.medians[Site.parse("1.mlp_out")]
    )
    there[text_rows] = made(clean["1.mlp_in"][text_rows])
    logits = run(small, ids, edit=Edit("1.mlp_out", lambda _: there)).logits
    assert logits is not None
    counted = torch.from_numpy(rows.held_out)[:, 1:]
    expected = float(token_loss(logits, ids)[counted].mean())
    assert told.spliced.mean("SAE") == pytest.approx(expected, rel=1e-5)


def test_a_crosscoder_is_judged_at_each_of_its_sites(real, tmp_path: Path):
    small, _, found = real
    places = [Site.parse(f"{layer}.resid_post") for layer in (0, 1)]
    rows = samples([found[site] for site in places])
    trained(tmp_path / "made", rows, small, Recipe("batchtopk", 64, 4, steps=30, batch=64))
    made = load_sae(tmp_path / "made" / "batchtopk", small)
    x, _ = read_by(rows, 60)
    half = x.shape[1] // 2
    for number, site in enumerate(places):
        told = judge(made, rows, small, contexts=3, at=site)
        here = slice(number * half, (number + 1) * half)
        there = x[:, here]
        left = float((made(x)[:, here] - there).square().sum())
        fvu = left / float((there - there.mean(0)).square().sum())
        assert told.fits["SAE"].fvu == pytest.approx(fvu, rel=1e-4)
        assert told.spliced.mean("zero") != told.spliced.mean("clean")
        assert {name for name in told.fits if "PCA" in name}
    with pytest.raises(InputError, match=r"crosscoder of 0\.resid_post, 1\.resid_post does not"):
        judge(made, rows, small, at=Site.parse("1.mlp_out"))
    with pytest.raises(InputError, match=r"the activations are of 0\.resid_post; give its own"):
        judge(made, samples(found[places[0]]), small)
