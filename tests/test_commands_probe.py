"""`workbench probe`: sweeps with controls, saved probes on other samples, and what a model uses."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from probes.erasing import erasure_test, random_erasure
from probes.fits import LinearProbe
from probes.rows import gather, split
from probes.saved import about_sweep, load_sweep
from probes.summary import COLUMNS, by_site, token_scores
from probes.sweep import sweep
from probes.text import SHIPPED
from tests.boards import othello_folder
from workbench.__main__ import main
from workbench.commands import output
from workbench.directions import load_direction
from workbench.errors import InputError
from workbench.hooks import run
from workbench.labels import label_source, read_labels
from workbench.models import Model, load, untrained
from workbench.sites import Site

# The last letter tells, which a model with random weights passes on as well.
ANIMALS = ("puma", "koala", "zebra", "hyena", "gorilla", "alpaca", "llama", "panda", "boa", "cobra")
THINGS = ("box", "wax", "tax", "ox", "fax", "mix", "flax", "index", "helix", "matrix")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "console", Console(width=200))


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return othello_folder(tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences with an animal or a thing in them, each pair of words a group."""
    rows = ["text,word,label,group"]
    for number, pair in enumerate(zip(ANIMALS, THINGS, strict=True)):
        for text in ("I saw the {} again", "the {} is here", "my {} was lost"):
            for word, label in zip(pair, ("animal", "thing"), strict=True):
                rows.append(f"{text.format(word)},{word},{label},{number}")
    path = tmp_path_factory.mktemp("words") / "things.csv"
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def kept(board: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ridge probes of the board after every layer."""
    path = tmp_path_factory.mktemp("kept") / "mine.safetensors"
    given = ["--labels", "othello-mine", "--contexts", "40", "--kind", "ridge", "--seed", "3"]
    assert main(["probe", "sweep", "--model", str(board), *given, "--out", str(path)]) == 0
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["probe", *map(str, arguments)]) == 2
    return capsys.readouterr().err


# --- sweeps --------------------------------------------------------------------------------------


def test_a_sweep_is_the_core_s(command: Callable[..., str], board: Path, tmp_path: Path) -> None:
    page, out = tmp_path / "page.html", tmp_path / "p.safetensors"
    given = ("--labels", "othello-mine", "--contexts", "30", "--kind", "ridge", "--seed", "2")
    asked = ("--among", "mine,theirs", "--html", page, "--out", out, "--json")
    told = json.loads(command("probe", "sweep", "--model", board, *given, *asked))
    model, source = load(str(board)), label_source("othello-mine")
    assert source.corpus is not None
    corpus = source.corpus(model.vocabulary, 30, 2)
    found = sweep(
        model,
        source.label(corpus, model.vocabulary),
        ["0.resid_pre", "*.resid_post"],
        "ridge",
        random=untrained(model),
        among=("mine", "theirs"),
        seed=2,
    )
    for which, among in (("sites", False), ("among", True)):
        columns = by_site(found, among=among)
        assert list(told[which]) == [str(site) for site in found.reports]
        for name in COLUMNS:
            shown = [row[name] for row in told[which].values()]
            np.testing.assert_allclose(np.array(shown, float), columns[name], atol=1e-5)
    again = load_sweep(out, model)
    np.testing.assert_array_equal(by_site(again)["accuracy"], by_site(found)["accuracy"])
    assert told["best"] == str(found.best) and told["corpus"]["digest"] == corpus.digest
    assert "random weights" in page.read_text() and "among mine, theirs" in page.read_text()


def test_what_stands_beside_a_probe(command: Callable[..., str], words: Path, board: Path) -> None:
    shown = command(
        "probe", "sweep", "--model", board, "--labels", "othello-legal", "--contexts", 12
    )
    head = next(line for line in shown.splitlines() if "probe" in line and "┃" in line)
    cells = [cell.strip() for cell in head.strip("┃").split("┃")]
    beside = ["common", "shuffled", "control", "random", "embed"]
    assert cells[:8] == ["site", "95 %", "probe", *beside]
    without = command(
        *("probe", "sweep", "--model", board, "--labels", "othello-legal", "--contexts", 12),
        "--no-random",
    )
    assert "┃ random" not in without and "┃ control" in without


def test_one_site_with_its_online_code(
    command: Callable[..., str], words: Path, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "one.safetensors"
    given = ("--model", tiny_folder("llama"), "--labels", words, "--site", "1.resid_post")
    told = json.loads(command("probe", "train", *given, "--mdl", "--json", "--out", out))
    assert list(told["sites"]) == ["1.resid_post"] == list(told["codes"]["model"])
    code = told["codes"]["model"]["1.resid_post"]
    assert code["uniform"] == 60 and code["compression"] == pytest.approx(60 / code["bits"])
    assert set(told["codes"]) == {"model", "random weights"}
    assert "online code, random weights" in command("probe", "train", *given, "--mdl")


def test_shipped_labels(command: Callable[..., str], tiny_folder: Callable[[str], Path]) -> None:
    given = ("--labels", "word-classes", "--kind", "mean-difference", "--no-random", "--json")
    told = json.loads(
        command("probe", "train", "--model", tiny_folder("gpt2"), "--site", "0.resid_pre", *given)
    )
    assert told["classes"] == sorted(
        ["adjective", "adverb", "determiner", "noun", "preposition", "pronoun", "verb"]
    )
    assert sum(told["samples"].values()) > 400 and told["sites"]["0.resid_pre"]["ECE"] is None


def test_python_m_probes_is_the_command() -> None:
    shown = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", *words],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for words in (["probes", "--help"], ["workbench", "probe", "--help"])
    ]
    assert shown[0].split("options:")[1] == shown[1].split("options:")[1]


# --- configs -------------------------------------------------------------------------------------


def test_a_config_gives_arguments_and_the_command_line_wins(
    command: Callable[..., str], board: Path, tmp_path: Path
) -> None:
    config = tmp_path / "run.json"
    asked = {"model": str(board), "labels": "othello-mine", "kind": "ridge", "contexts": 12}
    asked |= {"sites": ["0.resid_pre", "1.resid_post"], "no-random": True, "mdl": False, "seed": 5}
    config.write_text(json.dumps(asked))
    told = json.loads(command("probe", "sweep", "--config", config, "--seed", 6, "--json"))
    assert list(told["sites"]) == ["0.resid_pre", "1.resid_post"]
    assert (told["kind"], told["seed"], told["random"]) == ("ridge", 6, None)


def test_a_card_reproduces_its_result(
    command: Callable[..., str], kept: Path, tmp_path: Path
) -> None:
    config, out = tmp_path / "run.json", tmp_path / "again.safetensors"
    arguments = about_sweep(kept)["arguments"]
    assert arguments["contexts"] == 40 and arguments["seed"] == 3 and "out" not in arguments
    config.write_text(json.dumps(arguments))
    command("probe", "sweep", "--config", config, "--out", out)
    first, second = load_sweep(kept), load_sweep(out)
    for site, probe in first.probes.items():
        assert isinstance(probe, LinearProbe) and isinstance(again := second[site], LinearProbe)
        assert bool((probe.weight == again.weight).all())
    np.testing.assert_array_equal(by_site(first)["control task"], by_site(second)["control task"])


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('{"lables": "x"}', "no argument 'lables'; did you mean 'labels'"),
        ('{"contexts": "many"}', "invalid int value: 'many'"),
        ('{"kind": "forest"}', "invalid choice: 'forest'"),
        ('{"labels": true}', "--labels: expected one argument"),
        ('{"mdl": "yes"}', "ignored explicit argument 'yes'"),
        ('{"labels": {"a": 1}}', "labels should be text, a number, true or a list"),
        ("[1]", "should hold a JSON object"),
        ("{", "is no JSON file of arguments"),
    ],
)
def test_a_bad_config_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, config: str, told: str
) -> None:
    path = tmp_path / "run.json"
    path.write_text(config)
    assert told in refused(capsys, "sweep", "--config", path)


# --- saved probes --------------------------------------------------------------------------------


def test_saved_probes_on_other_samples(
    command: Callable[..., str], kept: Path, tmp_path: Path
) -> None:
    told = json.loads(command("probe", "evaluate", kept, "--seed", 9, "--json"))
    assert told["corpus"]["name"] == "40 random games 6x6, seed 9"
    config = tmp_path / "run.json"
    config.write_text('{"seed": 0, "sites": "1.resid_post"}')
    other = json.loads(command("probe", "evaluate", kept, "--config", config, "--json"))
    assert other["corpus"]["name"] == "40 random games 6x6, seed 0"
    assert list(other["sites"]) == ["1.resid_post"]
    own = by_site(load_sweep(kept))["accuracy"]
    assert [row["own test"]["accuracy"] for row in told["sites"].values()] == own.tolist()
    here = np.array([row["accuracy"] for row in told["sites"].values()])
    assert np.abs(here - own).max() < 0.06 and (here != own).all()
    assert "own test" in command("probe", "evaluate", kept, "--seed", 9)


def test_documents_that_were_fitted_on_are_left_out(
    command: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    words: Path,
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """A file with two pairs more is judged on these alone."""
    out, more, only = (tmp_path / name for name in ("p.safetensors", "more.csv", "only.csv"))
    model = ("--model", tiny_folder("llama"))
    asked = ("--site", "1.resid_post", "--no-random", "--out", out)
    command("probe", "train", *model, "--labels", words, *asked)
    new = ["a sofa,sofa,animal,90", "a lynx,lynx,thing,91", "two lynx,lynx,thing,91"]
    more.write_text("\n".join([words.read_text(), *new]))
    only.write_text("\n".join(["text,word,label,group", *new]))
    told, alone = (
        json.loads(command("probe", "evaluate", out, "--labels", path, "--json"))
        for path in (more, only)
    )
    assert told["documents left out"] == 10 and alone["documents left out"] == 0
    here, there = (found["sites"]["1.resid_post"]["accuracy"] for found in (told, alone))
    assert here == there
    shown = command("probe", "evaluate", out, "--labels", more)
    assert "10 of 12 documents were among those fitted on" in shown and "3 samples" in shown
    few = tmp_path / "few.csv"
    few.write_text("\n".join(words.read_text().splitlines()[:13]))
    assert "that the probes were fitted on" in refused(capsys, "evaluate", out, "--labels", few)


def test_files_of_other_arguments_stay(command: Callable[..., str], board: Path) -> None:
    given = ("--model", board, "--labels", "othello-legal", "--kind", "ridge", "--no-random")
    kept = [
        Path(json.loads(command("probe", "sweep", *given, "--contexts", n, "--json"))["file"])
        for n in (12, 14, 12, 16)
    ]
    stem = kept[0].stem
    assert [one.stem for one in kept] == [stem, f"{stem}-2", stem, f"{stem}-3"]
    assert [about_sweep(one)["arguments"]["contexts"] for one in kept] == [12, 14, 12, 16]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluate", "--html", "a.html", "--site", "1.z"], "evaluate takes no --site, --html"),
        (["intervene", "--labels", "x"], "of a board takes no --labels"),
        (["intervene", "--site", "1.resid_post", "--html", "a.html"], "no --site, --html"),
        (["intervene", "--save-direction", "d", "--cases", "9"], "save-direction takes no --cas"),
    ],
)
def test_arguments_without_a_use_are_told(
    capsys: pytest.CaptureFixture[str], kept: Path, arguments: list[str], told: str
) -> None:
    assert told in refused(capsys, arguments[0], kept, *arguments[1:])


def test_the_same_samples_are_no_others(capsys: pytest.CaptureFixture[str], kept: Path) -> None:
    assert "the samples that the probes were fitted on" in refused(capsys, "evaluate", kept)


def test_another_model_is_refused(
    capsys: pytest.CaptureFixture[str], kept: Path, tiny_folder: Callable[[str], Path]
) -> None:
    told = refused(capsys, "evaluate", kept, "--model", "othello-6x6", "--seed", 4)
    assert "the probe at 0.resid_pre is 48 wide" in told
    told = refused(capsys, "intervene", kept, "--model", tiny_folder("llama"))
    assert "is 48 wide" in told


def test_labels_of_another_sort_are_refused(capsys: pytest.CaptureFixture[str], kept: Path) -> None:
    told = refused(capsys, "evaluate", kept, "--labels", "othello-colour", "--seed", 4)
    assert "the probes read mine, theirs, empty (36 tasks)" in told


# --- does the model use it? ----------------------------------------------------------------------


def test_a_disc_is_flipped(command: Callable[..., str], kept: Path) -> None:
    told = json.loads(command("probe", "intervene", kept, "--cases", 20, "--json"))
    assert set(told["mean_errors"]) == {"null", "intervened", "random", "floor"}
    share = told["share_of_the_gap"]["intervened"]
    null, moved, floor = (told["mean_errors"][n] for n in ("null", "intervened", "floor"))
    assert share["mean"] == pytest.approx((null - moved) / (null - floor), abs=1e-5)
    assert share["low"] <= share["mean"] <= share["high"]
    shown = command("probe", "intervene", kept, "--cases", 20, "--change", "erase")
    assert "in a random direction, as far" in shown and "floor" in shown


def test_a_concept_is_erased(
    command: Callable[..., str], words: Path, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    out, model = tmp_path / "p.safetensors", tiny_folder("llama")
    given = ("--model", model, "--labels", words, "--site", "1.resid_post", "--out", out)
    command("probe", "train", *given, "--no-random")
    told = json.loads(command("probe", "intervene", out, "--json"))
    loaded = load(str(model))
    found = erasure_test(
        loaded, read_labels(words, loaded), load_sweep(out)["1.resid_post"], seed=0
    )
    assert told["leace"]["kl"]["kl"] == pytest.approx(found.leace.cost.kl, rel=1e-4)
    assert told["rank"] == found.rank == 1 and told["commonest class"] == found.majority == 0.5
    assert found.leace.refitted.accuracy <= 0.6 < found.before.accuracy
    assert found.random.kept.accuracy > found.leace.kept.accuracy
    shown = command("probe", "intervene", out)
    assert "LEACE" in shown and "random directions" in shown


def test_an_erasure_keeps_the_split_of_the_fit(
    command: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    words: Path,
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    out, other = tmp_path / "p.safetensors", tmp_path / "other.csv"
    given = ("--labels", words, "--site", "1.z", "--out", out, "--seed", 4, "--no-random")
    command("probe", "train", "--model", tiny_folder("llama"), *given)
    told = json.loads(command("probe", "intervene", out, "--json"))
    own = load_sweep(out).reports[Site("z", 1)].evaluation
    assert told["before"]["accuracy"] == pytest.approx(own.accuracy)
    assert told["leace"]["probe"]["accuracy"] < told["random"]["probe"]["accuracy"]
    seeded = refused(capsys, "intervene", out, "--seed", 5)
    assert "--seed 5 would draw other test documents" in seeded and "with seed 4" in seeded
    other.write_text(words.read_text() + "\na sofa,sofa,animal,90")
    assert "holds other samples" in refused(capsys, "intervene", out, "--labels", other)
    assert "takes no --html, --cases" in refused(
        capsys, "intervene", out, "--html", "a.html", "--cases", 3
    )
    saving = ("--save-direction", tmp_path / "d", "--class", "animal")
    assert "reads all heads at once" in refused(capsys, "intervene", out, *saving)
    other.write_text("text,word,label\na sofa,sofa,animal\na lynx,lynx,thing")
    assert "1.z" in command("probe", "evaluate", out, "--labels", other)


def test_a_random_erasure_is_a_projection(words: Path, tiny: Callable[..., Model]) -> None:
    model = tiny("llama")
    rows = gather(model, read_labels(words, model), "1.resid_post")
    (site,) = rows.activations
    train = split(rows.groups).train
    erasure = random_erasure(rows, site, train, 3, seed=1)
    once = erasure(rows[site])
    np.testing.assert_allclose(erasure(once).numpy(), once.numpy(), atol=1e-5)
    x = rows[site][train]
    lost = (x - erasure(x)).square().sum() / (x - x.mean(0)).square().sum()
    assert float(lost) == pytest.approx(erasure.removed, rel=1e-4) and erasure.rank == 3


def test_a_direction_to_steer_by(command: Callable[..., str], kept: Path, tmp_path: Path) -> None:
    path, probes = tmp_path / "d3.direction", load_sweep(kept)
    asked = ("--task", "d3", "--class", "mine", "--against", "theirs", "--site", "1.resid_post")
    command("probe", "intervene", kept, "--save-direction", path, *asked)
    found, probe = load_direction(path), probes["1.resid_post"]
    assert isinstance(probe, LinearProbe)
    column = probe.weight[:, probe.tasks.index("d3")]
    np.testing.assert_allclose(found.vector, column[:, 0] - column[:, 1], rtol=1e-4, atol=1e-7)
    assert str(found.site) == "1.resid_post" and found.model == probe.model


# --- what is read at tokens ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ridge", "logistic", "mean-difference"])
def test_shares_at_tokens(words: Path, tiny: Callable[..., Model], kind: str) -> None:
    model = tiny("llama")
    probe = sweep(model, read_labels(words, model), "1.resid_post", kind)["1.resid_post"]
    ids = model.tokenize("the cat and the cup").tensor()
    shares = token_scores(model, probe, ids)
    x = run(model, ids, read="1.resid_post").activations[probe.site][0]
    np.testing.assert_allclose(shares.sum(-1).numpy(), 1, atol=1e-5)
    assert (shares.argmax(-1) == probe.predict(x)).all() and shares.shape == (ids.shape[1], 1, 2)


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sweep"], "give --labels: othello-mine"),
        (["sweep", "--labels", "othelo-mine"], "did you mean 'othello-mine'"),
        (["sweep", "--labels", "gone.csv"], "gone.csv"),
        (["sweep", "--labels", "word-classes", "--contexts", "5"], "leave --corpus and --contexts"),
        (["sweep", "--site", "1.resid_post", "--labels", "othello-mine"], "sweep takes --sites"),
        (["train", "--labels", "othello-mine"], "train needs --site"),
        (["train", "--labels", "othello-mine", "--site", "*.resid_post"], "names 3 places"),
        (["sweep", "--labels", "othello-mine", "--kind", "ridge", "--mdl"], "needs probabilities"),
        (["sweep", "--labels", "othello-mine", "--contexts", "0"], "--contexts 0 should be 1"),
        (["sweep", "--labels", "othello-mine", "--contexts", "2"], "give at least 3"),
        (["sweep", "--labels", "othello-mine", "--seed", "-1"], "--seed -1 should be 0 or more"),
        (["sweep", "--labels", "othello-mine", "--sites", "*.pattern"], "no vector at each token"),
        (["sweep", "--labels", "othello-mine", "--cases", "3"], "sweep takes no --cases"),
        (["sweep", "--labels", "othello-mine", "--out", "no/such/file"], "a folder that exists"),
        (["sweep", "--labels", "othello-mine", "--contexts", "9", "--among", "mine"], "give two"),
        (["sweep", "probes.safetensors"], "takes no file of probes"),
        (["evaluate"], "needs a file of probes"),
        (["evaluate", "gone.safetensors"], "there is no sweep of probes at gone.safetensors"),
    ],
)
def test_mistakes_are_told(
    capsys: pytest.CaptureFixture[str], board: Path, arguments: list[str], told: str
) -> None:
    assert told in refused(capsys, *arguments, "--model", board)


def test_a_model_by_hand_has_no_random_twin(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "letters.txt"
    path.write_text("\n\n".join(f"{a}/vowel b/other c/other" for a in "aeaeaeaeae"))
    told = refused(capsys, "sweep", "--model", "induction-by-hand", "--labels", path)
    assert "no untrained twin" in told and "--no-random" in told


def test_one_class_only(capsys: pytest.CaptureFixture[str], board: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("text,label\nd2 c2,x\nd2 e2,x\nd2,x\n")
    assert "1 class; give two or more" in refused(
        capsys, "sweep", "--model", board, "--labels", path
    )


def test_shipped_texts_are_there_and_docs_say_so() -> None:
    for path in SHIPPED.values():
        assert path.is_file()
    with pytest.raises(InputError, match="no report among some classes"):
        by_site(_empty(), among=True)


def _empty():
    from probes.sweep import Sweep

    return Sweep("", {}, "ridge", 0, {}, None, (), (), {}, (), {}, {}, {})
