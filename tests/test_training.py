"""The trainer: what it minimises, how it continues, and what it leaves behind."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from probes.othello.rules import Board
from probes.othello.sequences import Sequences, played
from workbench.__main__ import main
from workbench.errors import InputError
from workbench.hooks import run
from workbench.models import load, untrained
from workbench.models.native import CONFIG, WEIGHTS, Shape, network, save_native, sdpa
from workbench.registry import listed
from workbench.training import (
    NextToken,
    NextTokenTraining,
    changed,
    knobs,
    recipe_named,
    train_into,
)
from workbench.training.checkpoint import Unfinished, write_state
from workbench.training.run import LADDER, MODEL, STATE

BOARD = Sequences(Board(4))
SHAPE = Shape(n_layers=2, n_heads=2, d_model=16, n_ctx=BOARD.n_ctx, d_vocab=13, d_mlp=32)
RECIPE = NextToken(
    name="small",
    about="4x4",
    shape=SHAPE,
    vocabulary=BOARD.vocabulary,
    sequences=BOARD.training,
    evaluate=lambda logits: {"top1": played(BOARD, logits, BOARD.held_out(50)).top1},
    steps=12,
    batch=8,
    warmup=2,
)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / MODEL / WEIGHTS)


def _done(folder: Path, recipe: NextToken = RECIPE, resume: bool = False, stop: int = 0) -> None:
    for step, _ in train_into(folder, recipe, device="cpu", resume=resume):
        if step.done == stop:
            return


def test_a_size_names_a_recipe(capsys: pytest.CaptureFixture[str]):
    assert main(["train", "othello-8x8", "--size", "lo"]) == 2
    assert "did you mean othello-8x8-li?" in capsys.readouterr().err


def test_a_card_says_when_its_metrics_were_measured(tmp_path: Path):
    """The ladder's weights stand between evaluations."""
    _done(tmp_path, replace(RECIPE, steps=90))  # evaluated every second step
    card = json.loads((tmp_path / LADDER / "64" / "card.json").read_text())
    assert (card["steps"], card["metrics after step"]) == (64, 64)
    assert json.loads((tmp_path / LADDER / "1" / "card.json").read_text())["metrics"] == {}


def test_one_killed_at_its_last_checkpoint_still_leaves_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(path: Path, recipe: NextToken, kept: Unfinished) -> None:
        write_state(path, recipe, kept)
        if kept.done == recipe.steps:
            raise KeyboardInterrupt

    monkeypatch.setattr("workbench.training.run.write_state", killed)
    with pytest.raises(KeyboardInterrupt):
        _done(tmp_path / "parts")
    monkeypatch.undo()
    _done(tmp_path / "whole")
    whole, parts = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("stop", [1, 7, 11])
def test_a_stopped_training_continues_bit_for_bit(tmp_path: Path, stop: int):
    _done(tmp_path / "whole")
    _done(tmp_path / "parts", stop=stop)
    _done(tmp_path / "parts", resume=True)
    whole, parts = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    cards = [
        json.loads((tmp_path / side / MODEL / "card.json").read_text())
        for side in ("whole", "parts")
    ]
    assert cards[0]["log"] == cards[1]["log"]


def test_seeds_give_other_weights(tmp_path: Path):
    _done(tmp_path / "one")
    _done(tmp_path / "two", replace(RECIPE, seed=1))
    one, two = _weights(tmp_path / "one"), _weights(tmp_path / "two")
    assert not torch.equal(one["head.weight"], two["head.weight"])


def test_the_first_step_is_that_of_plain_torch():
    # The whole of one step by hand, in float32: loss without pads, Muon on matrices, AdamW.
    training = NextTokenTraining(RECIPE, "cpu")
    training.bfloat16 = False
    plain = network(SHAPE, RECIPE.seed)
    rows = BOARD.training(RECIPE.seed, 0, RECIPE.batch)
    assert bool((rows[:, 1:] == 0).any()), "these games do not end early: the test tells nothing"
    target = rows[:, 1:]
    picked = plain(rows[:, :-1]).log_softmax(-1).gather(-1, target[..., None])[..., 0]
    loss = -picked[target != 0].mean()
    loss.backward()
    named = dict(plain.named_parameters())
    matrices = {n: p for n, p in named.items() if "layers" in n and p.ndim == 2}
    assert {n.split(".")[-2] for n in matrices} == {"q", "k", "v", "o", "fc_in", "fc_out"}
    rest = [p for n, p in named.items() if n not in matrices]
    torch.optim.Muon(matrices.values(), lr=0.01, weight_decay=0).step()  # step 1 of 2 to warm up
    torch.optim.AdamW(rest, lr=1.5e-3, betas=(0.9, 0.98), weight_decay=0).step()

    step = next(training.steps())
    torch.testing.assert_close(step.loss, loss.detach())
    for name, value in training.network.named_parameters():
        torch.testing.assert_close(value, named[name], rtol=1e-5, atol=1e-6)


def test_rates_rise_stay_and_fall_to_nothing():
    recipe = replace(RECIPE, steps=100, warmup=10, decay=0.5)
    scales = [recipe.scale(step) for step in range(100)]
    assert scales[0] == 0.1 and scales[9:51] == [1.0] * 42
    assert all(before > after for before, after in pairwise(scales[50:]))
    assert 0 < scales[-1] <= 0.02


def test_a_small_board_is_learnt():
    # Untrained, a tenth of moves are legal by chance.
    recipe = replace(RECIPE, steps=150, batch=64, shape=replace(SHAPE, d_model=32, d_mlp=64))
    training = NextTokenTraining(recipe, "cpu")
    before = recipe.evaluate(training.logits)["top1"]
    for _ in training.steps():
        pass
    assert before < 0.5
    assert recipe.evaluate(training.logits)["top1"] > 0.85


def test_fused_attention_is_attention():
    ids = BOARD.training(0, 0, 4)[:, :-1]
    torch.testing.assert_close(sdpa(network(SHAPE))(ids), network(SHAPE)(ids))


def test_what_is_trained_gives_the_same_logits_bridged(tmp_path: Path):
    _done(tmp_path)
    model = load(str(tmp_path / MODEL), device="cpu")
    plain = network(SHAPE)
    plain.load_state_dict(_weights(tmp_path))
    ids = BOARD.training(5, 0, 6)[:, :-1]
    found = run(model, ids).logits
    torch.testing.assert_close(found, plain(ids).detach(), rtol=1e-5, atol=1e-5)
    assert model.vocabulary.string(1) == "a1" and model.vocabulary.special_ids == (0,)


def test_folded_small_models_keep_their_probabilities(tmp_path: Path):
    _done(tmp_path)
    ids = BOARD.training(5, 0, 6)[:, :-1]
    raw, folded = (
        run(load(str(tmp_path / MODEL), device="cpu", processing=name), ids).logits
        for name in ("raw", "folded")
    )
    assert raw is not None and folded is not None
    torch.testing.assert_close(raw.log_softmax(-1), folded.log_softmax(-1), rtol=0, atol=2e-5)


def test_the_ladder_holds_powers_of_two_from_nothing(tmp_path: Path):
    _done(tmp_path)
    assert sorted(int(path.name) for path in (tmp_path / LADDER).iterdir()) == [0, 1, 2, 4, 8]
    start = load_file(tmp_path / LADDER / "0" / WEIGHTS)
    expected = network(SHAPE, RECIPE.seed).state_dict()
    assert all(torch.equal(start[name], expected[name]) for name in start)


def test_an_untrained_twin_is_a_start_of_training(tmp_path: Path):
    _done(tmp_path)
    model = load(str(tmp_path / MODEL), device="cpu")
    twin = untrained(model, seed=3)
    start = network(SHAPE, seed=3)
    ids = BOARD.training(5, 0, 2)[:, :-1]
    torch.testing.assert_close(run(twin, ids).logits, start(ids).detach(), rtol=1e-5, atol=1e-5)
    assert twin.identity.fingerprint != model.identity.fingerprint


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_untrained_twins_of_the_hubs_families(tiny, name: str):
    model = tiny(name)
    one, same, other = (untrained(model, seed=seed) for seed in (0, 0, 1))
    assert one.identity == same.identity != other.identity
    assert one.architecture == model.architecture
    assert one.identity.weights != model.identity.weights


def test_a_hand_written_model_has_no_untrained_twin(by_hand):
    with pytest.raises(InputError, match="no untrained twin"):
        untrained(by_hand)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path):
    _done(tmp_path, stop=5)
    other = replace(RECIPE, steps=20, rate=1e-3)
    with pytest.raises(InputError, match=r"steps is 20, was 12; rate is 0.001, was 0.003"):
        train_into(tmp_path, other, resume=True)


def test_a_training_is_lengthened_before_it_decays_and_not_after(tmp_path: Path):
    longer = replace(RECIPE, steps=16)
    _done(tmp_path / "whole", longer)
    _done(tmp_path / "parts", stop=5)
    _done(tmp_path / "parts", longer, resume=True)
    whole, parts = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    _done(tmp_path / "late", stop=9)
    with pytest.raises(InputError, match="steps is 16, was 12"):
        train_into(tmp_path / "late", longer, resume=True)


def test_a_loss_that_is_no_number_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(NextTokenTraining, "_step", lambda self: torch.tensor(torch.nan))
    with pytest.raises(InputError, match="loss of small is nan at step 1: its learning rate is"):
        _done(tmp_path)
    assert not (tmp_path / MODEL).exists()


def test_a_folder_with_a_training_is_not_overwritten(tmp_path: Path):
    _done(tmp_path, stop=5)
    with pytest.raises(InputError, match="give --resume"):
        train_into(tmp_path, RECIPE)
    with pytest.raises(InputError, match="no training to resume"):
        train_into(tmp_path / "new", RECIPE, resume=True)


def test_two_do_not_train_in_one_folder(tmp_path: Path):
    steps = train_into(tmp_path, RECIPE, device="cpu")
    next(steps)
    with pytest.raises(InputError, match="another process trains in"):
        train_into(tmp_path, RECIPE, device="cpu", resume=True)
    del steps  # whoever stops asking lets go
    _done(tmp_path, resume=True)


@pytest.mark.parametrize("where", [40, -40])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, where: int):
    _done(tmp_path, stop=5)
    content = bytearray((tmp_path / STATE).read_bytes())
    content[where] ^= 1
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(InputError, match="make the checkpoint again"):
        train_into(tmp_path, RECIPE, resume=True)


def test_tensors_of_another_shape_are_refused():
    training = NextTokenTraining(RECIPE, "cpu")
    wider = NextTokenTraining(replace(RECIPE, shape=replace(SHAPE, d_model=32)), "cpu")
    with pytest.raises(InputError, match=r"does not fit recipe small: tok_embed.weight"):
        wider.restore(training.state(), 3)


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path: Path):
    weights = dict(network(SHAPE).named_parameters())
    save_native(tmp_path, SHAPE, BOARD.vocabulary, weights, {})
    tensors = load_file(tmp_path / WEIGHTS)
    del tensors["head.weight"]
    tensors["pos.weight"] = tensors["pos.weight"][:3].clone()
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(InputError, match=r"head.weight is missing.*pos.weight is \(3, 16\)"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"n_heads": 3}, "d_model 16, not a multiple of n_heads 3"),
        ({"n_layers": -1, "d_model": "16"}, r"n_layers -1; d_model '16'"),
        ({"act_fn": "gelu2"}, "act_fn 'gelu2'"),
        ({"d_vocab": 14}, "d_vocab is 14, but there are 13 tokens"),
        ({"vocabulary": None}, "no config of a native model"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_config_that_cannot_be_is_refused(tmp_path: Path, change: dict, told: str):
    save_native(tmp_path, SHAPE, BOARD.vocabulary, dict(network(SHAPE).named_parameters()), {})
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**config, **change}))
    with pytest.raises(InputError, match=told):
        load(str(tmp_path))


def test_a_recipe_that_cannot_be_lists_all_that_is_wrong():
    with pytest.raises(
        InputError, match=r"steps 0 \(from 1 to .*\), rate -1.0 .*, warmup -5 .*, decay 2.0 "
    ):
        replace(RECIPE, steps=0, rate=-1.0, warmup=-5, decay=2.0)


def test_recipes_are_found_by_name():
    assert recipe_named("othello-6x6").examples(2) == 2 * 128 * 31
    with pytest.raises(InputError, match="did you mean othello-6x6"):
        recipe_named("othello-6x5")


def test_the_command_trains_and_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["train", "othello-6x6", "--folder", str(tmp_path), "--steps=2", "--set=batch=4"]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["step"] == 2 and told["examples"] == 2 * 4 * 31
    assert main([*arguments, "--resume"]) == 0
    assert "is trained already" in capsys.readouterr().out.replace("\n", " ")
    assert main(arguments) == 2


def test_knobs_are_set_by_words():
    assert changed(RECIPE, {"batch": "4", "rate": "0.5"}) == replace(RECIPE, batch=4, rate=0.5)
    assert set(knobs(RECIPE)) >= {"steps", "batch", "rate", "seed", "every"}
    assert not {"name", "about", "shape"} & set(knobs(RECIPE))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"bach": "4"}, "small has no knob 'bach'; did you mean batch"),
        ({"batch": "4.5"}, "batch=4.5 is no value of small: give one of type int, such as 8"),
        ({"batch": "0"}, r"cannot train with batch 0 \(from 1 to 65,536\)"),
        ({"batch": "1000000000"}, "cannot train with batch 1000000000"),
        ({"rate": "inf"}, r"cannot train with rate inf \(from 1e-06 to 1\)"),
    ],
)
def test_a_knob_that_cannot_be_is_refused(words: dict[str, str], told: str):
    with pytest.raises(InputError, match=told):
        changed(RECIPE, words)


def test_the_command_lists_recipes_with_their_knobs(capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == set(listed("recipes"))
    assert told["othello-6x6"]["knobs"]["batch"] == 128
    assert main(["train", "othello-6x6", "--set=batch"]) == 2
    assert "should read KNOB=VALUE" in capsys.readouterr().err.replace("\n", " ")


def test_a_ladder_has_the_rungs_that_are_asked_for(tmp_path: Path):
    _done(tmp_path, replace(RECIPE, every=3))
    found = sorted(int(path.name) for path in (tmp_path / LADDER).iterdir())
    assert found == [0, 1, 2, 3, 4, 6, 8, 9, 12]
