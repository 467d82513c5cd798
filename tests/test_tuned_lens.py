"""The tuned lens: identities, planted bases that it must find, and files that it refuses."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.testing import assert_close

from workbench import figures, runs
from workbench.__main__ import main
from workbench.cache import DamagedError
from workbench.corpus import Corpus, from_ids
from workbench.errors import InputError
from workbench.hooks import run
from workbench.lens import (
    Comparison,
    Parts,
    Recipe,
    Step,
    TunedLens,
    compare,
    default_name,
    divided,
    follow,
    lens,
    lens_folder,
    load_lens,
    residuals,
    save_lens,
    settled,
    standard_error,
    train,
    untrained,
)
from workbench.lens.least_squares import Moments, Start
from workbench.lens.rows import rows
from workbench.lens.training import descend
from workbench.models import Model, load

SHORT = Recipe(steps=12, positions=64, start_tokens=1024)


def random_text(n_contexts: int = 96, n_ctx: int = 24, vocab: int = 260, seed: int = 0) -> Corpus:
    drawn = np.random.default_rng(seed).integers(1, vocab, (n_contexts, n_ctx))
    return from_ids("random", drawn)


def turned(model: Model, size: float = 0.1) -> TunedLens:
    """A lens with translators drawn at random."""
    blank = untrained(model)
    draw = torch.Generator().manual_seed(1)
    return replace(
        blank,
        matrix=size * torch.randn(blank.matrix.shape, generator=draw),
        bias=size * torch.randn(blank.bias.shape, generator=draw),
    )


# Identities.


def test_untrained_is_the_logit_lens(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    resid, _ = residuals(model, ids[:1])
    blank = untrained(model)
    assert len(blank) == 4
    assert blank.identities == ["embed", "L0", "L1"]
    plain, tuned = lens(resid, model.unembed), lens(resid, blank)
    for name, values in vars(plain).items():
        assert torch.equal(values, getattr(tuned, name)), name


def test_the_last_row_is_the_models_own_output(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    resid, _ = residuals(model, ids[:1])
    tuned = turned(model)
    logits = run(model, ids[:1]).logits
    assert logits is not None
    assert_close(tuned[-1](resid[-1]), logits[0], atol=1e-5, rtol=1e-5)
    assert torch.equal(tuned[3](resid[-1]), model.unembed(resid[-1]))
    assert not torch.allclose(tuned[2](resid[2]), model.unembed(resid[2]), atol=0.1)
    found = lens(resid, tuned)
    assert torch.equal(found.kl[-1], torch.zeros(12))
    fate = follow(resid[:, 5], tuned, int(found.traced[5]))
    assert_close(fate.prob, found.prob[:, 5], atol=1e-6, rtol=1e-4)
    assert torch.equal(fate.rank, found.rank[:, 5])


def test_a_translator_by_hand() -> None:
    matrix = torch.tensor([[[0.0, 1.0], [2.0, 0.0]]])
    tuned = TunedLens(matrix, torch.tensor([[10.0, 20.0]]), torch.nn.Identity())
    assert tuned[0](torch.tensor([1.0, 3.0])).tolist() == [1 + 3 + 10, 3 + 2 + 20]
    assert tuned[1](torch.tensor([1.0, 3.0])).tolist() == [1, 3]
    half = tuned[0](torch.tensor([[1.0, 3.0]], dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert half.tolist() == [[14, 25]]
    with pytest.raises(IndexError):
        tuned[2]
    assert tuned.identities == []
    assert tuned.with_identity([0]).identities == ["embed"]
    assert tuned.matrix.any(), "the lens itself stays as it was"


# A planted basis: what the last layer holds, turned and moved.


def planted(n_rows: int = 1500, sinks: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Rows `[layer, row, d_model]` of three layers, and the true matrices and biases.

    Layer 1's basis is turned less than layer 0's; `sinks` of the rows are 1,000 times as long.
    """
    draw = torch.Generator().manual_seed(0)
    size = 8
    last = torch.randn(n_rows, size, generator=draw)
    last[:sinks] = 1000 * torch.ones(size) + last[:sinks]
    layers, matrices, biases = [], [], []
    for strength in (1.0, 0.4):
        skew = strength * torch.randn(size, size, generator=draw)
        turn = torch.linalg.matrix_exp(skew - skew.T)
        move = torch.randn(size, generator=draw)
        layers.append(last @ turn + move)
        matrices.append(turn - torch.eye(size))  # x turn.T - move turn.T is the last layer
        biases.append(-turn @ move)
    return torch.stack([*layers, last]), torch.stack(matrices), torch.stack(biases)


def unembed(resid: Tensor) -> Tensor:
    """A final norm and an unembedding of 40 tokens."""
    tokens = 2 * torch.randn(40, 8, generator=torch.Generator().manual_seed(9))
    return linear(torch.nn.functional.rms_norm(resid, (8,)), tokens)


def kl(matrix: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """Mean KL of each layer."""
    tuned = TunedLens(matrix, bias, unembed)
    return lens(batch, tuned, k=1).kl[:-1].mean(1)


def from_the_identity() -> Start:
    """No least squares, and the stream's own coordinates."""
    zeros, one = torch.zeros(2, 8), torch.eye(8).expand(2, 8, 8)
    return Start(torch.zeros(2, 8, 8), zeros, zeros, one, 1.0)


def moments(*batches: Tensor) -> Moments:
    found = Moments()
    for batch in batches:
        found.add(batch)
    return found


def test_least_squares_find_a_planted_basis() -> None:
    batch, matrix, bias = planted()
    learnt, held_out = batch[:, :1000], batch[:, 1000:]
    assert (kl(torch.zeros_like(matrix), torch.zeros_like(bias), held_out) > 1).all()
    start = moments(learnt[:, :300], learnt[:, 300:]).start()
    assert_close(start.matrix, matrix, atol=0.01, rtol=0)
    assert_close(start.bias, bias, atol=0.02, rtol=0)
    assert (kl(start.matrix, start.bias, held_out) < 1e-3).all()


@pytest.mark.parametrize("bfloat16", [False, True])
def test_descent_finds_a_planted_basis(bfloat16: bool) -> None:
    batch, matrix, bias = planted()
    learnt, held_out = batch[:, :1000], batch[:, 1000:]
    before = kl(torch.zeros_like(matrix), torch.zeros_like(bias), held_out)
    steps = 300
    found = list(
        descend(
            from_the_identity(),
            (learnt for _ in range(steps)),
            unembed,
            steps=steps,
            learning_rate=0.05,
            bfloat16=bfloat16,
        )
    )
    assert_close(found[0][0], kl(matrix * 0, bias * 0, learnt), atol=0.02, rtol=0.01)
    _, matrix, bias = found[-1]
    assert (kl(matrix, bias, held_out) < 0.005 * before).all()


def test_layers_that_have_nothing_to_do_with_the_last_teach_nothing() -> None:
    batch, _, _ = planted()
    learnt, held_out = batch[:, :1000].clone(), batch[:, 1000:]
    learnt[-1] = learnt[-1, torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    start = moments(learnt).start()
    assert (kl(start.matrix, start.bias, held_out) > 0.5).all()


def test_sinks_neither_steer_nor_suffer() -> None:
    """A few rows a thousand times as long as the rest: BOS, in real models."""
    batch, _, _ = planted(sinks=30)
    start = moments(batch).start()
    seen = torch.einsum("lrd,lde->lre", batch[:-1] - start.mean[:, None], start.whiten)
    longest, usual = seen[:, :30].norm(dim=-1).max(), seen[:, 30:].norm(dim=-1).mean()
    assert longest < 5 * usual, "1 / sqrt(their share), whatever their length"
    draw = torch.Generator().manual_seed(0)
    blurred = batch + 0.3 * torch.randn(batch.shape, generator=draw)
    start = moments(blurred).start()
    mixed = torch.randperm(batch.shape[1], generator=draw)
    parts = [blurred[:, mixed[i::10]] for i in range(10)] * 6
    bare = replace(start, mean=0 * start.mean, whiten=torch.eye(8).expand(2, 8, 8))
    before = kl(start.matrix, start.bias, blurred[:, :30])
    worse = []
    for begun in (start, bare):
        *_, (_, matrix, bias) = descend(begun, parts, unembed, steps=60, learning_rate=0.01)
        assert (kl(matrix, bias, blurred) < kl(start.matrix, start.bias, blurred)).all()
        worse.append(float((kl(matrix, bias, blurred[:, :30]) - before).max()))
    assert worse[0] < 0.01
    assert worse[1] > 0.05, "in the stream's own coordinates they do suffer"


def test_padding_never_trains() -> None:
    batch, _, _ = planted(200)
    padded = torch.cat([batch[:, :50], torch.full((3, 7, 8), torch.nan), batch[:, 50:]], 1)
    padded[0, 50] = 1.0  # NaN in one layer is enough
    nothing = torch.full((3, 4, 8), torch.nan)
    start, same = moments(batch).start(), moments(nothing, padded, nothing).start()
    for name, values in vars(start).items():
        assert_close(getattr(same, name), values, msg=name)
    taught = {"unembed": unembed, "steps": 4, "learning_rate": 0.01}
    clean = list(descend(start, [batch] * 4, **taught))
    spoilt = list(descend(start, [padded, nothing, padded, padded], **taught))
    assert len(spoilt) == 3
    for left, right in zip(clean[0], spoilt[0], strict=True):
        assert_close(left, right)
    assert all(value.isfinite().all() for value in spoilt[-1])


def test_nothing_to_learn_from_is_told() -> None:
    with pytest.raises(InputError, match="no position has finite activations in every layer"):
        moments(torch.full((3, 4, 8), torch.inf)).start()


# On models.


@pytest.fixture(scope="module")
def taught(tiny) -> Callable[..., tuple[Model, Parts, list[Step]]]:
    """(family, processing) -> the model, its text and its training, once for all tests."""
    made: dict[tuple[str, str], tuple[Model, Parts, list[Step]]] = {}

    def teach(family: str, processing: str = "raw") -> tuple[Model, Parts, list[Step]]:
        if (family, processing) not in made:
            native = family == "native"
            model = load("induction-by-hand") if native else tiny(family, processing)
            half = random_text(96, 12, vocab=27 if native else 260).ids
            parts = divided(from_ids("twice", np.concatenate([half, half], 1)))
            steps = list(train(model, parts.training, SHORT))
            made[family, processing] = model, parts, steps
        return made[family, processing]

    return teach


@pytest.mark.parametrize(
    ("family", "processing"),
    [(f, p) for f in ("gpt2", "neox", "llama") for p in ("raw", "folded")] + [("native", "raw")],
)
def test_no_layer_is_worse_than_the_logit_lens(taught, family: str, processing: str) -> None:
    model, parts, steps = taught(family, processing)
    _, held_out = settled(model, steps[-1].lens, parts)
    assert (held_out.gap.mean(1) <= 0.01).all()
    assert held_out.gap.mean() < -0.005, "and some are better"
    assert held_out.logit.shape == (model.architecture.n_layers + 1, 12)
    assert held_out.positions == 12 * 24, "all there are"
    assert (held_out.logit[-1] == 0).all()
    assert (held_out.tuned[-1] == 0).all()


def test_training_tells_its_steps(taught) -> None:
    model, parts, steps = taught("gpt2")
    gathered = -(-1024 // (24 * 16))
    assert [step.done for step in steps] == list(range(1, gathered + 12 + 1))
    assert {step.total for step in steps} == {gathered + 12}
    assert [step.losses is None for step in steps] == [True] * gathered + [False] * 12
    assert steps[0].lens.identities == ["embed", "L0", "L1"]
    assert steps[gathered - 1].lens.identities == [], "least squares"
    assert all(step.losses.shape == (3,) for step in steps[gathered:])
    begun = compare(model, untrained(model), parts.validation).tuned.mean(1)
    squares = compare(model, steps[gathered - 1].lens, parts.validation).tuned.mean(1)
    assert (squares[:-1] < begun[:-1]).all()


def test_a_lens_that_is_worse_gives_way_to_the_logit_lens(tiny) -> None:
    model, parts = tiny("llama"), divided(random_text())
    noise = turned(model, 2.0)
    kept, held_out = settled(model, noise, parts)
    assert kept.identities == ["embed", "L0", "L1"]
    assert torch.equal(held_out.tuned, held_out.logit)
    some = replace(noise, matrix=noise.matrix.clone(), bias=noise.bias.clone())
    some.matrix[1], some.bias[1] = 0, 0
    assert settled(model, some, parts)[0].identities == ["embed", "L0", "L1"]


def test_one_seed_is_one_lens(taught) -> None:
    model, parts, steps = taught("neox")
    again = list(train(model, parts.training, SHORT))
    assert torch.equal(again[-1].lens.matrix, steps[-1].lens.matrix)
    assert torch.equal(again[-1].lens.bias, steps[-1].lens.bias)
    *_, other = train(model, parts.training, replace(SHORT, seed=1))
    assert not torch.equal(other.lens.matrix, steps[-1].lens.matrix)


def test_training_can_be_stopped(taught) -> None:
    model, parts, steps = taught("gpt2")
    training = train(model, parts.training, SHORT)
    some = list(islice(training, 5))
    del training
    assert [step.done for step in some] == [1, 2, 3, 4, 5]
    assert torch.equal(some[-1].lens.matrix, steps[4].lens.matrix)
    assert compare(model, some[-1].lens, parts.held_out).gap.isfinite().all()


def test_training_leaves_the_model_as_it_was(taught) -> None:
    model, parts, steps = taught("gpt2")
    fingerprint = model.identity.fingerprint
    model.weights.zero_grad()  # other tests share the model, and leave theirs
    next(train(model, parts.training, SHORT))
    assert model.identity.fingerprint == fingerprint
    assert all(weight.grad is None for weight in model.weights.parameters())
    assert not steps[-1].lens.matrix.requires_grad


def test_a_short_corpus_is_read_again(tiny) -> None:
    model, text = tiny("gpt2"), random_text(8, 16)
    parts = divided(text)
    assert (len(parts.training), len(parts.validation), len(parts.held_out)) == (6, 1, 1)
    *_, last = train(model, parts.training, replace(SHORT, steps=9))
    assert last.done == last.total == 10
    held_out = compare(model, last.lens, parts.held_out)
    assert standard_error(held_out.gap).isnan().all(), "one context has no spread"


def test_a_model_in_bfloat16(tiny_folder) -> None:
    model = load(str(tiny_folder("llama")), device="cpu", dtype="bfloat16")
    parts = divided(random_text())
    *_, last = train(model, parts.training, SHORT)
    kept, held_out = settled(model, last.lens, parts)
    assert kept.matrix.dtype == torch.float32
    assert kept[0](torch.zeros(2, 24, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert (held_out.gap.mean(1) <= 0.01).all()


# Rows, parts, comparison.


def test_parts_share_no_context() -> None:
    text = random_text(100)
    parts = divided(text, seed=3)
    rows_of = [{row.tobytes() for row in part.ids} for part in vars(parts).values()]
    assert [len(found) for found in rows_of] == [76, 12, 12]
    assert set.union(*rows_of) == {row.tobytes() for row in text.ids}
    again, other = divided(text, seed=3), divided(text, seed=4)
    assert again.training.digest == parts.training.digest
    assert other.held_out.digest != parts.held_out.digest
    with pytest.raises(InputError, match=r"random has 7 contexts of 24 tokens; .* needs 8 or more"):
        divided(random_text(7))


def test_rows_are_the_stream_at_positions_drawn(tiny, family) -> None:
    model, text = tiny(family), random_text(5, 16)
    first, second = rows(model, text, batch=3, seed=1)
    assert (first.shape, second.shape) == ((4, 3, 2, 24), (4, 2, 2, 24))
    whole = torch.from_numpy(text.ids.astype(np.int64))
    for context in range(2):
        resid, _ = residuals(model, whole[3 + context][None])
        at = (resid[0][:, None] - second[0, context]).abs().sum(-1).argmin(0)
        assert len(set(at.tolist())) == 2
        assert_close(second[:, context], resid[:, at], atol=1e-5, rtol=1e-4)
    (later,) = rows(model, text, batch=9, share=1.0, first=4)
    assert later.shape == (4, 1, 16, 24)
    assert_close(later[:, 0], residuals(model, whole[4:])[0], atol=1e-5, rtol=1e-4)


def test_a_comparison_against_brute_force(tiny) -> None:
    model, text = tiny("neox"), random_text(3, 16)
    tuned = turned(model)
    found = compare(model, tuned, text, seed=5)
    (batch,) = rows(model, text, batch=3, share=1.0, seed=5)
    assert found.layers == ["embed", "L0", "L1", "L2"]
    assert found.positions == 48
    final = model.unembed(batch[-1]).softmax(-1)
    for row in range(4):
        for read, own in ((model.unembed, found.logit), (tuned[row], found.tuned)):
            ratio = final / read(batch[row]).softmax(-1)
            assert_close(own[row], (final * ratio.log()).sum(-1).mean(-1), atol=1e-5, rtol=1e-4)
    assert torch.equal(found.gap, found.tuned - found.logit)


def test_errors_are_over_contexts() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0, 6.0]])
    assert_close(standard_error(values), torch.tensor([np.std([1, 2, 3, 6], ddof=1) / 2]).float())
    found = torch.tensor([[0.5, 0.6], [1, 1], [0.1, 0.99], [0.5, torch.nan]])
    clear = Comparison(torch.ones(4, 2), found, 2).nearer
    assert clear.tolist() == [True, False, False, False], "not if equal, in doubt, or NaN"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"steps": -1, "positions": 0}, "with steps -1, positions 0; give numbers above 0"),
        ({"learning_rate": float("nan")}, "with learning_rate nan"),
        ({"start_tokens": 0}, "with start_tokens 0"),
        ({"seed": -2}, "with seed -2"),
    ],
)
def test_a_bad_recipe_is_told(given: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Recipe(**given)


# On disk.


@pytest.fixture
def kept(taught) -> tuple[Model, TunedLens, Path]:
    """A lens of the tiny GPT-2, on disk under its own name."""
    model, parts, steps = taught("gpt2")
    lens, held_out = settled(model, steps[-1].lens, parts)
    told = {"corpus": parts.training, "recipe": SHORT, "held_out": held_out, "seconds": 1.0}
    saved = save_lens(model, lens, **told)
    return model, saved, lens_folder(default_name(model))


def test_a_lens_comes_back(kept) -> None:
    model, saved, folder = kept
    again = load_lens(model)
    assert torch.equal(again.matrix, saved.matrix)
    assert torch.equal(again.bias, saved.bias)
    assert again.about == saved.about == json.loads((folder / "card.json").read_text())
    card = again.about
    assert card["model"]["fingerprint"] == model.identity.fingerprint
    assert card["recipe"] == vars(SHORT)
    assert card["held_out"]["rows"] == ["embed", "L0", "L1", "L2"]
    assert len(card["held_out"]["tuned"]["kl"]) == len(card["held_out"]["gap"]["error"]) == 4
    assert len(list(folder.iterdir())) == 2, "the card, and one file"
    resid, _ = residuals(model, torch.tensor([[1, 2, 3]]))
    assert torch.equal(lens(resid, again).kl, lens(resid, saved).kl)


def test_the_lens_of_another_model_is_refused(kept, tiny, tiny_folder, copied) -> None:
    model, _, folder = kept
    name = folder.name
    with pytest.raises(
        InputError,
        match=rf"lens {name} is of another model .*: field config: .*; field weights: this one "
        r"has \w+, the lens \w+; load that model, or train .*: `workbench tune --model .*`",
    ):
        load_lens(tiny("neox"), name)
    with pytest.raises(InputError, match="field processing: this one has folded, the lens raw"):
        load_lens(tiny("gpt2", "folded"), name)
    half = load(str(tiny_folder("gpt2")), device="cpu", dtype="bfloat16")
    with pytest.raises(InputError, match="compute_dtype: this one has bfloat16, the lens float32"):
        load_lens(half, name)
    moved = load(str(copied("gpt2")), device="cpu")
    assert torch.equal(load_lens(moved, name).matrix, load_lens(model).matrix), "same weights"
    with torch.no_grad():
        next(moved.weights.parameters()).add_(1)
    with pytest.raises(InputError, match=r"another model .*: field weights: this one has"):
        load_lens(moved, name)


def test_a_lens_that_is_not_there_is_told(tiny, by_hand) -> None:
    with pytest.raises(InputError, match=r"no tuned lens induction-by-hand-raw-float32; train it: "
                       r"`workbench tune --model induction-by-hand`"):  # fmt: skip
        load_lens(by_hand)
    folded = tiny("llama", "folded")
    with pytest.raises(InputError, match=r"`workbench tune --model \S+ --processing folded`"):
        load_lens(folded)
    with pytest.raises(InputError, match=r"no tuned lens mine; .* --name mine`"):
        load_lens(by_hand, "mine")


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "x" * 101, "é"])
def test_a_bad_name_is_told(by_hand, name: str) -> None:
    with pytest.raises(InputError, match="cannot name a lens; give up to 100 letters"):
        load_lens(by_hand, name)


def test_names_of_models_become_names_of_lenses(tiny, by_hand) -> None:
    assert default_name(by_hand) == "induction-by-hand-raw-float32"
    name = default_name(tiny("gpt2"))
    assert lens_folder(name).name == name
    assert name.endswith("gpt20-raw-float32")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda card, file: file.write_bytes(file.read_bytes()[:-1]), "field checksum: expected"),
        (lambda card, file: file.unlink(), "field file: expected the tensors, found No such file"),
        (lambda card, file: card.write_text("{"), "field file: expected a lens' card"),
        (lambda card, file: card.write_text("[]"), "field file: expected a lens' card"),
        (
            lambda card, file: card.write_text(card.read_text().replace('t": 1,', 't": 2,')),
            "field format: expected 1, found 2",
        ),
    ],
)  # fmt: skip
def test_a_damaged_lens_is_told(kept, spoil, told: str) -> None:
    model, _, folder = kept
    (file,) = folder.glob("*.safetensors")
    spoil(folder / "card.json", file)
    with pytest.raises(DamagedError, match=f"{folder.name}/.*{told}.*train the lens again"):
        load_lens(model)
    shutil.rmtree(folder)


@pytest.mark.parametrize("refused", ["card.json", ".safetensors"])
def test_a_lens_is_written_whole_or_not_at_all(kept, monkeypatch, refused: str) -> None:
    model, saved, folder = kept
    other = replace(saved, matrix=saved.matrix + 1)
    held_out = Comparison(torch.ones(4, 2), torch.ones(4, 2), 2)
    told = {"corpus": random_text(), "recipe": SHORT, "held_out": held_out, "seconds": 1.0}
    real = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        if target.name.endswith(refused):
            raise OSError(28, "No space left on device")
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(InputError, match=r"cannot be kept in .* \(No space left on device\)"):
            save_lens(model, other, **told)
    assert torch.equal(load_lens(model).matrix, saved.matrix), "the one before"
    save_lens(model, other, **told, steps=3)
    assert torch.equal(load_lens(model).matrix, other.matrix)
    assert load_lens(model).about["steps"] == 3
    assert len(list(folder.iterdir())) == 2, "nothing is left of the others"


# The commands and the figure.

HAND = ["--model", "induction-by-hand", "--device", "cpu"]


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    drawn = np.random.default_rng(0).integers(0, 26, 1500)
    path = tmp_path / "letters.txt"
    path.write_text(" ".join(chr(ord("a") + letter) for letter in drawn))
    return path


def test_tune_and_read(letters: Path, tmp_path: Path, capsys) -> None:
    page = tmp_path / "tune.html"
    asked = ["tune", "--corpus", str(letters), *HAND, "--n-ctx", "16", "--steps", "3"]
    assert main([*asked, "--name", "hand", "--html", str(page)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "KL(final || lens): induction-by-hand, raw, float32" in told
    assert "positions of 12 contexts that took no part in the training" in told
    assert "kept as hand" in told
    assert "tuned lens" in page.read_text()
    assert runs.kept()[0][1].kind == "tune"

    assert main(["lens", "a b c a b", *HAND, "--lens", "hand", "--json"]) == 0
    tuned = json.loads(capsys.readouterr().out)
    assert main(["lens", "a b c a b", *HAND, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert (tuned["lens"], plain["lens"]) == ("tuned lens", "logit lens")
    assert tuned["probability"][-1] == plain["probability"][-1]
    assert tuned["kl"] != plain["kl"]

    assert main([*asked, "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["lens"] == "induction-by-hand-raw-float32"
    assert outcome["recipe"]["steps"] == 3
    assert main(["lens", "a b c a b", *HAND, "--tuned"]) == 0
    assert "tuned lens, top-1 and probability" in capsys.readouterr().out
    shutil.rmtree(lens_folder("induction-by-hand-raw-float32"))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["lens", "a", *HAND, "--tuned"], "train it: `workbench tune --model induction-by-hand`"),
        (["tune", *HAND, "--name", "a/b"], "'a/b' cannot name a lens"),
        (["tune", *HAND, "--steps", "-1"], "cannot be trained with steps -1"),
        (["tune", *HAND, "--corpus", "/no/such.txt"], "there is no file '/no/such.txt'"),
    ],
)
def test_mistakes_are_told(asked: list[str], told: str, capsys) -> None:
    assert main(asked) == 2
    assert told in capsys.readouterr().err


def test_divergence_is_drawn_as_given() -> None:
    kl = {"logit lens": np.array([4.0, 2.0, 0.0]), "tuned lens": np.array([1.0, 0.5, 0.0])}
    errors = {name: values / 10 for name, values in kl.items()}
    figure = figures.divergence(kl, errors, layers=["embed", "L0", "L1"], title="KL")
    shown = json.loads(figure.to_json() or "")
    assert [trace["name"] for trace in shown["data"]] == list(kl)
    plain, tuned = (cast(Any, trace) for trace in figure.data)
    assert np.isnan(np.asarray(plain.y, dtype=float)[-1]), "a log axis has no 0"
    assert np.asarray(tuned.y, dtype=float)[:2].tolist() == [1.0, 0.5]
    assert np.asarray(tuned.error_y.array) == pytest.approx([0.196, 0.098, 0])
    assert shown["layout"]["xaxis"]["ticktext"] == ["embed", "L0", "L1"]
    with pytest.raises(ValueError, match="KL of the logit lens of shape"):
        figures.divergence(kl, errors, layers=["embed"], title="KL")
