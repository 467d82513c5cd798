"""Loading: every way to name a model, every mistake told in one sentence, no needless memory."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import RepositoryNotFoundError
from transformers import LlamaConfig, LlamaForCausalLM

from workbench.errors import InputError
from workbench.hooks import run
from workbench.models import DTYPES, built_ins, installed, load, loading, model_folder, remove

PEAK_DTYPES = ("float32", "bfloat16")


def unlink(*names: str):
    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return spoil


def write(name: str, text: str, *gone: str):
    def spoil(folder: Path) -> None:
        unlink(*gone)(folder)
        (folder / name).write_text(text)

    return spoil


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"dtype": "float64"}, "dtype 'float64' is not one of float32, bfloat16, float16; did"),
        ({"dtype": "fp8"}, "dtype 'fp8' is not one of float32, bfloat16, float16"),
        ({"processing": "fold"}, "processing 'fold' is not one of raw, folded; did you mean folde"),
        ({"device": "gpu"}, "device 'gpu' is not one of auto, cuda, mps, cpu"),
        ({"device": "mps"}, "device 'mps' is not available here; this machine has .*cpu"),
        ({"processing": "folded"}, "induction-by-hand has no LayerNorm to fold; .* 'raw'"),
    ],
)
def test_a_wrong_option_is_told(monkeypatch, how: dict[str, str], told: str) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=told):
        load("induction-by-hand", **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (unlink("config.json"), "has no config.json; give a folder in the Hub's format"),
        (write("config.json", "{"), "config.json is not JSON"),
        (write("config.json", "{}"), "does not load"),
        (write("config.json", '{"model_type": "nonsense"}'), "does not load"),
        (unlink("tokenizer.json", "tokenizer_config.json"), "no tokenizer; put tokenizer.json"),
        (write("tokenizer.json", "{}"), "no tokenizer that loads"),
        (unlink("model.safetensors"), "has no weights; model.safetensors is missing"),
        (
            write("pytorch_model.bin", "", "model.safetensors"),
            r"only pickled weights \(pytorch_model.bin\), which can run code when opened; convert",
        ),
        (write("model.safetensors", "garbage"), "does not load"),
    ],
)
def test_a_folder_that_is_not_whole_is_told(copied, spoil, told: str) -> None:
    folder = copied("llama")
    spoil(folder)
    with pytest.raises(InputError, match=told) as caught:
        load(str(folder), device="cpu")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value), "one sentence on one line"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"num_hidden_layers": 4}, r"model\.layers\.3.* and 6 more"),
        ({"intermediate_size": 48}, r"mlp\.down_proj\.weight"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_told(copied, change: dict, told: str) -> None:
    """They would be random."""
    folder = copied("llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(InputError, match=f"weights do not fit its config.json; .*{told}"):
        load(str(folder), device="cpu")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gpt3", "did you mean .*gpt2.*Hub cannot be reached|cannot be reached.*did you mean gpt2"),
        ("smollm2-136m", r"Hub cannot be reached; did you mean smollm2-135m"),
        ("qqqq/zzzz", "not built in, not a folder, and the Hub cannot be reached; `workbench mod"),
        ("./nowhere", r"there is no folder '\./nowhere'"),
        ("/nowhere", "there is no folder '/nowhere'"),
        ("a name with spaces", "refused model 'a name with spaces'"),
    ],
)
def test_an_unknown_name_without_a_network_is_told(monkeypatch, tmp_path, name, told) -> None:
    monkeypatch.setattr(loading, "hub_answers", lambda: False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=told):
        load(name)


def test_an_unknown_name_with_a_network_is_told(monkeypatch) -> None:
    class Unknown(RepositoryNotFoundError):
        def __init__(self) -> None:
            Exception.__init__(self, "no such thing")

    def refuse(*_, **__):
        raise Unknown

    monkeypatch.setattr(loading, "hub_answers", lambda: True)
    monkeypatch.setattr(loading, "snapshot_download", refuse)
    with pytest.raises(InputError, match=r"neither built in nor on the Hub: model 'gpt5'.*gpt2"):
        load("gpt5")


def test_a_hub_name_loads_what_the_hub_sends(monkeypatch, tiny, tiny_folder, ids, family) -> None:
    asked = []

    def send(name: str, **how) -> str:
        asked.append((name, how["local_files_only"], how["allow_patterns"]))
        return str(tiny_folder(family))

    monkeypatch.setattr(loading, "hub_answers", lambda: True)
    monkeypatch.setattr(loading, "snapshot_download", send)
    said: list[str] = []
    model = load("someone/tiny", device="cpu", say=said.append)
    assert model.name == "someone/tiny"
    assert model.identity == tiny(family).identity
    ((name, local, patterns),) = asked
    assert (name, local) == ("someone/tiny", False)
    assert not any(pattern.endswith((".bin", ".pt", "*")) for pattern in patterns), "no pickles"
    assert [stage.split()[0] for stage in said] == ["fetching", "loading"]
    assert run(model, ids).logits is not None


@pytest.mark.parametrize(
    ("answer", "reachable"),
    [
        (urllib.error.URLError("no route"), False),
        (TimeoutError(), False),
        (urllib.error.HTTPError("", 503, "busy", Message(), None), True),
    ],
)
def test_whether_thehub_answers(monkeypatch, answer: Exception, reachable: bool) -> None:
    def reply(*_, **__):
        raise answer

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(urllib.request, "urlopen", reply)
    assert loading.hub_answers() is reachable


def test_offline_by_wish_asks_nobody(monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("asked"))
    assert loading.hub_answers() is False


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_dtype_is_that_of_all_weights(tiny_folder, ids, family, processing, dtype) -> None:
    model = load(str(tiny_folder(family)), device="cpu", dtype=dtype, processing=processing)
    assert {str(p.dtype) for p in model.weights.parameters()} == {f"torch.{dtype}"}
    logits = run(model, ids).logits
    assert logits is not None
    assert str(logits.dtype) == f"torch.{dtype}"
    assert not logits.isnan().any()


def test_sizes_of_a_model(tiny) -> None:
    sizes = tiny("llama").architecture
    assert (sizes.family, sizes.n_layers, sizes.n_heads, sizes.n_kv_heads) == ("llama", 3, 6, 2)
    assert (sizes.d_model, sizes.d_head, sizes.d_vocab, sizes.n_ctx) == (24, 4, 300, 64)


def test_built_in_models_are_listed_and_removed() -> None:
    assert set(built_ins()) >= {"smollm2-135m", "induction-by-hand"}
    assert installed("induction-by-hand")
    with pytest.raises(InputError, match="'gpt2' is not a built-in model; built in: smollm2-135m"):
        remove("gpt2")
    with pytest.raises(InputError, match="induction-by-hand is not installed"):
        remove("induction-by-hand")


def test_remove_deletes_the_folder(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    assert not installed("smollm2-135m")
    folder = model_folder("smollm2-135m")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert installed("smollm2-135m")
    assert remove("smollm2-135m") == folder
    assert not installed("smollm2-135m")


MEASURE = """
import ctypes, gc, sys
import torch
from workbench.models import load

small, large, dtypes = sys.argv[1], sys.argv[2], sys.argv[3:]
libc = ctypes.CDLL("libc.so.6")

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) * 1024

for dtype in dtypes:
    for processing in ("raw", "folded"):
        how = dict(device="cpu", dtype=dtype, processing=processing)
        load(small, **how)  # imports what is imported late
        gc.collect()
        libc.malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts anew
        before = status("VmRSS")
        model = load(f"{large}-{dtype}", **how)
        model.identity  # reads every weight: mapped ones count
        n_bytes = sum(p.nbytes for p in model.weights.parameters())
        print(dtype, processing, (status("VmHWM") - before) / n_bytes)
        del model
"""


@pytest.fixture(scope="module")
def peaks(tiny_folder, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], float]:
    """(dtype, processing) -> the peak of memory while a Llama of 10 million parameters loads, in
    units of its parameters."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peaks are measured through Linux' /proc")
    folder = tmp_path_factory.mktemp("large") / "llama"
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=64,
    )
    model: torch.nn.Module = LlamaForCausalLM(config)
    for dtype in PEAK_DTYPES:
        saved = Path(f"{folder}-{dtype}")
        model.to(dtype=DTYPES[dtype]).save_pretrained(saved)  # type: ignore[operator]
        for path in tiny_folder("llama").glob("*token*"):
            (saved / path.name).write_bytes(path.read_bytes())
    measured = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, tiny_folder("llama"), folder, *PEAK_DTYPES],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in measured.stdout.splitlines()]
    return {(dtype, processing): float(peak) for dtype, processing, peak in lines}


@pytest.mark.parametrize("dtype", PEAK_DTYPES)
@pytest.mark.parametrize("processing", ["raw", "folded"])
def test_loading_peaks_below_twice_the_parameters(peaks, processing: str, dtype: str) -> None:
    assert peaks[dtype, processing] < 2
