"""Dictionaries that were released on the Hub, by the names SAELens has for them: RELEASE/ID.

SAELens fetches and converts them; what it makes is kept as a folder under the home, and read there
without a network. Its importing takes seconds, so it is done where it is used.
"""

import difflib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from workbench.errors import InputError
from workbench.fetching import appearing
from workbench.home import home
from workbench.models.loading import hub_answers

# SAELens' ways to read a release that read safetensors, or arrays without objects
_SAFE = (None, "sae_lens", "gemma_2", "gemma_3", "llama_scope", "llama_scope_r1_distill")
_PICKLED = (
    "connor_rob_hook_z",
    "dictionary_learning_1",
    "deepseek_r1",
    "goodfire",
    "qwen_scope",
)


def kept(name: str) -> Path:
    """Where a release's dictionary lies once it was fetched."""
    release, _, one = name.partition("/")
    return home() / "saes" / release / one.replace("/", "--")


def fetch(name: str) -> Path:
    """Fetch RELEASE/ID, and give its folder.

    Raises `InputError` for a name that SAELens does not know, for a release that is pickled or is
    of no SAEs, and where the Hub cannot be reached.
    """
    release, one = _known(name)
    how = _releases()[release].conversion_func
    if how in _PICKLED:
        raise InputError(
            f"{release} is pickled on the Hub, and reading it could run anything; it is not read"
        )
    if how not in _SAFE:
        raise InputError(f"{release} holds {how} dictionaries; what is read are SAEs")
    if not hub_answers():
        raise InputError(f"{name} is not here yet, and the Hub cannot be reached to fetch it")
    from sae_lens import SAE as Released

    try:
        with _quiet():
            found = Released.from_pretrained(release, one, dtype="float32")
    except (OSError, ValueError) as error:
        raise InputError(f"SAELens could not fetch {name}: {error}") from error
    with appearing(kept(name)) as beside:
        found.save_model(beside)
    return kept(name)


def upgraded(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights of a folder that SAELens wrote before its version 6, as it reads them.

    Raises `InputError` for one that it cannot read.
    """
    from sae_lens import SAE as Released

    try:
        with _quiet():
            found = Released.load_from_disk(folder, dtype="float32")
        state = found.state_dict()
        found.process_state_dict_for_saving(state)
        return found.cfg.to_dict(), state
    except Exception as error:  # it raises whatever a file's content makes of it
        raise InputError(f"SAELens cannot read {folder}: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what SAELens warns of: how the model is to be loaded, which `saved` holds to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _releases() -> dict[str, Any]:
    try:
        from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
    except ModuleNotFoundError:  # as beside TransformerLens 4: no release is known then
        return {}
    return get_pretrained_saes_directory()


def _known(name: str) -> tuple[str, str]:
    release, _, one = name.partition("/")
    every = _releases()
    if release not in every:
        raise InputError(
            f"there is no SAE {name!r}: no such folder, none shipped, and no release that SAELens "
            f"knows (RELEASE/ID){_near(release, every)}"
        )
    if one not in every[release].saes_map:
        ids = every[release].saes_map
        raise InputError(f"release {release} has no {one!r}{_near(one, ids)}")
    return release, one


def _near(text: str, names: Iterable[str]) -> str:
    names = list(names)
    near = difflib.get_close_matches(text, names, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else f"; it has {', '.join(names[:3])}, …"
