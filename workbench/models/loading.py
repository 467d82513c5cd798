"""`load(name)`: from a built-in name, a local folder in the Hub's format, or a Hub name."""

import difflib
import gc
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from torch import nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from workbench.errors import InputError
from workbench.home import typed
from workbench.models.catalogue import built_ins, model_folder
from workbench.models.folding import FOLDS, fold
from workbench.models.model import Model, twin
from workbench.models.native import is_native
from workbench.models.quiet import no_progress_bar
from workbench.models.small import by_hand, from_native
from workbench.models.tokens import HubVocabulary
from workbench.ranks import local_rank, world

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEFAULT_MODEL = "smollm2-135m"


def quiet(message: str) -> None:
    """The listener of those who do not want to hear about stages."""


def load(
    name: str = DEFAULT_MODEL,
    *,
    device: str = "auto",
    dtype: str = "float32",
    processing: str = "raw",
    say: Callable[[str], None] = quiet,
) -> Model:
    """Load a model by built-in name, folder (the Hub's format, or one of `workbench train`), or
    Hub name.

    `processing="folded"` folds LayerNorm into the weights and centres them (TransformerLens'
    compatibility mode); log-probabilities stay, activations change. Attention runs eager, so
    that patterns exist. `say` hears the stages. Raises `InputError` for an unknown name,
    device, dtype or processing, a folder that lacks config, tokenizer or safetensors, and
    where a network is needed and there is none.
    """
    _check("dtype", dtype, DTYPES)
    _check("processing", processing, ("raw", "folded"))
    where = resolve_device(device)
    if (built_in := built_ins().get(name)) and built_in.build is not None:
        return by_hand(name, built_in, where, DTYPES[dtype], processing)
    folder = folder_of(name, say=say)
    say(f"loading {name} ({dtype}, {where}, {processing})")
    if is_native(folder):
        return from_native(name, folder, where, DTYPES[dtype], processing)
    return _from_folder(name, folder, where, DTYPES[dtype], processing)


def resolve_device(device: str) -> torch.device:
    """`auto` is cuda, else mps, else cpu; others must exist on this machine.

    Under torchrun each rank of a machine has a CUDA device of its own.
    """
    have = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    _check("device", device, ("auto", *have))
    if device == "auto":
        device = next(kind for kind, there in have.items() if there)
    if not have[device]:
        usable = ", ".join(kind for kind, there in have.items() if there)
        raise InputError(f"device {device!r} is not available here; this machine has {usable}")
    if device == "cuda" and world() > 1:
        return torch.device("cuda", local_rank() % torch.cuda.device_count())
    return torch.device(device)


def folder_of(name: str, *, say: Callable[[str], None] = quiet) -> Path:
    """The folder in the Hub's format behind a name, fetched first where it must be."""
    built_in = built_ins().get(name)
    if built_in is not None and built_in.folder is not None:
        return built_in.folder
    if built_in is not None and built_in.install is not None:
        folder = model_folder(name)
        built_in.install(folder, say=say)
        return folder
    if (path := typed(name)).is_dir():
        return path
    if name.startswith((".", "/", "~")):
        raise InputError(f"there is no folder {name!r}; give a folder with config.json")
    return _snapshot(name, say)


def _snapshot(name: str, say: Callable[[str], None]) -> Path:
    known = [other for other in (*built_ins(), "gpt2", "EleutherAI/pythia-70m") if other != name]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    help_text = f"{hint}`workbench models list` names the built-in ones"
    online = hub_answers()
    if online:
        say(f"fetching {name} from the Hub")
    try:
        return Path(
            snapshot_download(
                name,
                local_files_only=not online,
                allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"],
                ignore_patterns=["*/*"],
            )
        )
    except RepositoryNotFoundError as error:
        raise InputError(f"neither built in nor on the Hub: model {name!r}; {help_text}") from error
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"model {name!r} is not built in, not a folder, and the Hub cannot be reached; "
            f"{help_text}"
        ) from error
    except (HfHubHTTPError, ValueError) as error:
        raise InputError(f"the Hub refused model {name!r}: {error}; {help_text}") from error


def hub_answers() -> bool:
    """Whether the Hub can be reached; asked once, because its client retries for 20 seconds."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=5).close()
    except urllib.error.HTTPError:  # an answer all the same
        return True
    except OSError:
        return False
    return True


def _from_folder(
    name: str, folder: Path, device: torch.device, dtype: torch.dtype, processing: str
) -> Model:
    _check_folder(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer("a")  # it looks at some of its settings only now
    except Exception as error:  # the library raises whatever a file's content makes of it
        raise InputError(
            f"folder {folder} has no tokenizer that loads ({_first_line(error)}); "
            "put tokenizer.json and tokenizer_config.json beside config.json"
        ) from error
    hub = _hub_model(folder, device, dtype)
    return from_hub(name, folder, hub, HubVocabulary(tokenizer, _ends(hub)), processing)


def from_hub(
    name: str, folder: Path, hub: PreTrainedModel, vocabulary: HubVocabulary, processing: str
) -> Model:
    """A model of the Hub's library as ours; `folder` is where its config lies."""
    config = hub.config.to_dict()
    device, dtype = hub.device, hub.dtype

    def bridged(tree: nn.Module) -> TransformerBridge:
        bridge = TransformerBridge.boot_transformers(
            str(folder), hf_model=tree, tokenizer=vocabulary.tokenizer, device=device, dtype=dtype
        )
        bridge.eval()
        return bridge

    foldable = config["model_type"] in FOLDS
    if processing == "folded" and foldable:
        fold(hub)
    plain: nn.Module | None = hub if processing == "raw" or foldable else None

    def build() -> TransformerBridge:
        if plain is not None:
            return bridged(twin(hub))
        bridge = bridged(hub)
        bridge.enable_compatibility_mode(disable_warnings=True)
        return bridge

    return Model(
        name,
        build=build,
        plain=plain,
        vocabulary=vocabulary,
        processing=processing,
        config=config,
        family=str(config["model_type"]),
    )


def _hub_model(folder: Path, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    try:
        with no_progress_bar():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="eager",
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # told below, with the missing ones
                output_loading_info=True,
            )
    except Exception as error:  # as above
        raise InputError(f"folder {folder} does not load: {_first_line(error)}") from error
    model, info = loaded
    _check_fit(folder, info)
    gc.collect()
    nn.Module.to(model, device)
    return model.eval()


def _ends(hub: PreTrainedModel) -> tuple[int, ...]:
    """The tokens at which generation_config.json says that a text ends."""
    config = hub.generation_config
    ends = config.eos_token_id if config is not None else None
    return () if ends is None else tuple(ends) if isinstance(ends, list) else (ends,)


def _check_fit(folder: Path, info: Mapping[str, Any]) -> None:
    """Refuse weights that would stay random because the files lack them."""
    wrong = sorted([*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])])
    if wrong:
        shown = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise InputError(
            f"folder {folder} does not load: its weights do not fit its config.json; missing or "
            f"of another shape: {shown}"
        )


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(
            f"folder {folder} has no config.json; give a folder in the Hub's format "
            "(config.json, tokenizer.json, model.safetensors)"
        )
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{folder / 'config.json'} is not JSON: {error}") from error
    tokenizers = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
    if not any((folder / file).is_file() for file in tokenizers):
        raise InputError(f"folder {folder} has no tokenizer; put tokenizer.json beside config.json")
    if not any(folder.glob("*.safetensors")):
        pickled = [path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth")]
        if pickled:
            raise InputError(
                f"folder {folder} has only pickled weights ({', '.join(pickled)}), which can run "
                "code when opened; convert them where you trust them: "
                "`model.save_pretrained(folder, safe_serialization=True)`"
            )
        raise InputError(f"folder {folder} has no weights; model.safetensors is missing")


def _check(what: str, given: str, allowed) -> None:
    if given not in allowed:
        near = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{what} {given!r} is not one of {', '.join(allowed)}{hint}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
