"""Tiny models in the Hub's format, the real one where it can be fetched, and a home of our own."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jaxtyping import config
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from workbench.__main__ import main
from workbench.errors import InputError
from workbench.home import home
from workbench.models import Model, load, loading

FAMILIES = ("gpt2", "neox", "llama")
VOCAB = 300  # 256 bytes, one BOS, some merges


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-rounds", type=int, default=5, help="how often long jobs are killed (5)"
    )


def pytest_configure(config: pytest.Config) -> None:
    # Two threads on busy cores wait for each other far longer than they compute.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - round(os.getloadavg()[0])))


@pytest.fixture(scope="session")
def users_home() -> Path:
    """The home that this machine's user has, read before the tests get their own."""
    return home()


@pytest.fixture(scope="session", autouse=True)
def workbench_home(users_home: Path, tmp_path_factory: pytest.TempPathFactory):
    """Tests write to a home of their own."""
    folder = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("WORKBENCH_HOME", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(autouse=True)
def poisoned_pickle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Whatever unpickles fails, in every test that is not marked `unpickles`."""
    if "unpickles" in request.keywords:
        return

    class Poison:
        def __init__(self, *_: object, **__: object) -> None:
            raise AssertionError("something was unpickled")

    for module, names in (
        (pickle, ("load", "loads", "Unpickler", "_Unpickler")),
        (torch, ("load",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, Poison)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that succeeds; gives its output."""

    def run(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def workbench(command: Callable[..., str]) -> Callable[..., str]:
    """The same, where no model is meant that every command of a file takes."""
    return command


@pytest.fixture
def unchecked():
    """Calls as a user makes them: without the tests' type checks, which would speak first."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session", autouse=True)
def no_collection():
    """Loading ends in a collection of garbage: most of the time for a tiny model."""
    patch = pytest.MonkeyPatch()
    patch.setattr(loading, "gc", SimpleNamespace(collect=lambda: 0))
    yield
    patch.undo()


def _tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 300 tokens: every text can be written, some pairs are merged."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|endoftext|>": 0} | {c: i + 1 for i, c in enumerate(alphabet)}
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("a", "n"), ("i", "n")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=special, eos_token=special, unk_token=special
    )
    tokenizer.chat_template = (
        "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n"
        "{% endfor %}[assistant]"
    )
    return tokenizer


CONFIGS = {
    "gpt2": GPT2Config(vocab_size=VOCAB, n_positions=64, n_embd=24, n_layer=3, n_head=3),
    "neox": GPTNeoXConfig(
        vocab_size=VOCAB,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=48,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 10000, "partial_rotary_factor": 0.5},
    ),
    "llama": LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=64,
    ),
}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """family -> a folder in the Hub's format with a random model of that family."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            torch.manual_seed(7)
            model = AutoModelForCausalLM.from_config(CONFIGS[family])
            for parameter in model.parameters():  # init std 0.02 would hide mistakes
                parameter.data.normal_(0.1 if parameter.ndim == 1 else 0.0, 0.3)
            model.save_pretrained(made[family])
            _tokenizer().save_pretrained(made[family])
        return made[family]

    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Callable[[str], Path]) -> Callable[..., Model]:
    """(family, processing) -> the loaded tiny model, one for all tests: do not edit its weights."""
    loaded: dict[tuple[str, str], Model] = {}

    def model(family: str, processing: str = "raw") -> Model:
        if (family, processing) not in loaded:
            loaded[family, processing] = load(
                str(tiny_folder(family)), device="cpu", processing=processing
            )
        return loaded[family, processing]

    return model


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["raw", "folded"])
def processing(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["plain", "bridge"])
def also(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Reads that send a raw model down one road: the plain tree has no scores."""
    return ("0.scores",) if request.param == "bridge" else ()


@pytest.fixture(
    params=["raw on the plain tree", "raw on the bridge", "folded", "folded on the bridge"]
)
def road(
    request: pytest.FixtureRequest, tiny: Callable[..., Model], family: str
) -> tuple[Model, tuple[str, ...]]:
    """A tiny model, and the reads to add that send it down one road."""
    processing = request.param.split()[0]
    return tiny(family, processing), ("0.scores",) if "bridge" in request.param else ()


@pytest.fixture(scope="session")
def hub(tiny_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """family -> the Hub library's own model of the same folder."""
    return lambda family: AutoModelForCausalLM.from_pretrained(
        tiny_folder(family), attn_implementation="eager"
    )


@pytest.fixture
def copied(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """family -> a copy of its folder that a test may spoil."""
    return lambda family: Path(shutil.copytree(tiny_folder(family), tmp_path / f"copy-{family}"))


@pytest.fixture(scope="session")
def by_hand() -> Model:
    return load("induction-by-hand", device="cpu")


@pytest.fixture(scope="session")
def ids() -> torch.Tensor:
    """Two prompts of twelve tokens."""
    return torch.randint(1, VOCAB - 40, (2, 12), generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def smollm2(users_home: Path, workbench_home: Path) -> Model:
    """The real model: the user's copy where there is one, else fetched into it."""
    from workbench.models.catalogue import SMOLLM2

    folder = users_home / "models" / "smollm2-135m"
    assert SMOLLM2.install is not None
    try:
        SMOLLM2.install(folder, say=lambda _: None)
    except InputError as error:
        pytest.skip(f"smollm2-135m cannot be fetched here: {error}")
    link = workbench_home / "models" / "smollm2-135m"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(folder)
    return load("smollm2-135m", device="cpu")
