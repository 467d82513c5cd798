"""Small models of other code: state dicts whose weights have other names and shapes.

What is left over, missing or does not fit is refused with its name: a model that was half read
would give numbers, too.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from workbench.errors import MISFITS, InputError
from workbench.models.layouts import LAYOUTS, Layout
from workbench.models.native import Shape, network, save_native
from workbench.models.tokens import Labels

NORMALIZATIONS = ("LN", "LNPre", "none")
_NORMS = re.compile(r".*\b(ln1|ln2|ln_out)\.(weight|bias)")
_SHOWN = 12  # faults of one file


def convert(
    source: Path,
    folder: Path,
    layout: str,
    labels: Sequence[str] | None = None,
    *,
    n_heads: int | None = None,
    act_fn: str = "gelu",
    normalization: str = "LN",
) -> Shape:
    """Write what `read_foreign` gives as a new model's folder; returns its sizes.

    Tokens are called by their `labels`, or by their numbers. Raises `InputError` as `read_foreign`,
    for labels that are not one for each token, and for a folder that is there already.
    """
    shape, weights = read_foreign(
        source, layout, n_heads=n_heads, act_fn=act_fn, normalization=normalization
    )
    named = tuple(map(str, range(shape.d_vocab)) if labels is None else labels)
    if len({*named}) != shape.d_vocab or len(named) != shape.d_vocab:
        raise InputError(
            f"{len(named)} labels, {len({*named})} of them different, for {shape.d_vocab} tokens; "
            "give each token one of its own"
        )
    if folder.exists():
        raise InputError(f"{folder} is there already; give another folder")
    save_native(folder, shape, Labels(named), weights, {"made from": f"{source.name} ({layout})"})
    return shape


def read_foreign(
    path: Path,
    layout: str,
    *,
    n_heads: int | None = None,
    act_fn: str = "gelu",
    normalization: str = "LN",
) -> tuple[Shape, dict[str, Tensor]]:
    """A safetensors file in one of `LAYOUTS` as the shape and weights of a native network.

    `n_heads` can be left out where the weights tell. `normalization` is LN, LNPre (LayerNorm folded
    into what reads it: weights of 1 are filled in) or none. Raises `InputError` for a file that
    does not load, and one that lists what is missing, left over or of another shape.
    """
    if layout not in LAYOUTS or normalization not in NORMALIZATIONS:
        raise InputError(
            f"layout {layout!r} with normalization {normalization!r} is not known; layouts: "
            f"{', '.join(LAYOUTS)}; normalizations: {', '.join(NORMALIZATIONS)}"
        )
    try:
        theirs = load_file(path)
    except (OSError, SafetensorError, *MISFITS) as error:
        raise InputError(
            f"{path} is no safetensors file ({error}); save the state dict by "
            "safetensors.torch.save_file"
        ) from error
    try:
        shape = _shape(path, theirs, LAYOUTS[layout], n_heads, act_fn, normalization)
        return shape, _taken(path, theirs, LAYOUTS[layout], shape, normalization == "LNPre")
    except MISFITS as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not of layout {layout}: {error}") from error


def _shape(
    path: Path,
    theirs: Mapping[str, Tensor],
    layout: Layout,
    n_heads: int | None,
    act_fn: str,
    normalization: str,
) -> Shape:
    """The sizes, as the tensors tell them."""
    embedding = _needed(path, theirs, layout, "tok_embed.weight")
    positions = _needed(path, theirs, layout, "pos.weight")
    named = re.compile(re.escape(layout.blocks).replace(r"\{\}", r"(\d{1,4})"))
    layers = {int(found[1]) for name in theirs if (found := named.match(name))}
    queries = theirs.get(layout.heads)
    if queries is not None and n_heads not in (None, len(queries)):
        raise InputError(f"{path} has {len(queries)} heads by its {layout.heads}, not {n_heads}")
    heads = n_heads if queries is None else len(queries)
    if heads is None:
        raise InputError(f"nothing in {path} tells how many heads there are; give their number")
    mlp, mlp_made = layout.block["mlp.fc_in.weight"]
    mlp = theirs.get(f"{layout.blocks.format(0)}{mlp}")
    bias = f"{layout.blocks.format(0)}{layout.block['attn.q.bias'][0]}"
    return Shape(
        n_layers=len(layers),
        n_heads=heads,
        d_model=embedding.shape[-1],
        n_ctx=positions.shape[0],
        d_vocab=embedding.shape[0],
        d_mlp=0 if mlp is None else mlp_made(mlp).shape[0],
        act_fn=act_fn,
        normalization=None if normalization == "none" else "LN",
        biases=bias in theirs,
    )


def _needed(path: Path, theirs: Mapping[str, Tensor], layout: Layout, name: str) -> Tensor:
    theirs_name, made = layout.outer[name]
    if theirs_name not in theirs:
        raise InputError(
            f"{path} has no {theirs_name}, so it is not of this layout ({layout.about}); its first "
            f"weights are {', '.join(list(theirs)[:4])}"
        )
    return made(theirs[theirs_name])


def _taken(
    path: Path, theirs: Mapping[str, Tensor], layout: Layout, shape: Shape, filled: bool
) -> dict[str, Tensor]:
    """The native network's weights, each from its place."""
    with torch.device("meta"):
        expected = {name: tuple(p.shape) for name, p in network(shape).named_parameters()}
    taken, used, wrong = dict[str, Tensor](), set[str](), list[str]()
    for name, wanted in expected.items():
        if (made := _known(name, wanted, shape, filled)) is not None:
            taken[name] = made
            continue
        found = layout.of(name)
        if found is None or found[0] not in theirs:
            wrong.append(f"no {name if found is None else found[0]}")
            continue
        used.add(found[0])
        taken[name] = found[1](theirs[found[0]]).float().contiguous()
        if tuple(taken[name].shape) != wanted:
            wrong.append(f"{found[0]} gives {tuple(taken[name].shape)}, not {wanted}")
    wrong += [f"{name} has no place" for name in _left_over(theirs, used, layout)]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise InputError(
            f"{path} is not of this layout and shape: {'; '.join(wrong[:_SHOWN])}{more}"
        )
    return taken


def _known(name: str, wanted: tuple[int, ...], shape: Shape, filled: bool) -> Tensor | None:
    """A weight that no file has to bring: of a folded LayerNorm, or a bias that is none."""
    norm = _NORMS.fullmatch(name) is not None
    if norm and filled:
        return torch.ones(wanted) if name.endswith("weight") else torch.zeros(wanted)
    if not norm and not shape.biases and name.endswith(".bias"):
        return torch.zeros(wanted)
    return None


def _left_over(theirs: Mapping[str, Tensor], used: set[str], layout: Layout) -> list[str]:
    """What was not used, though it is neither a buffer nor a bias of zeros that we have none of."""
    return [
        name
        for name in sorted(theirs.keys() - used)
        if not re.fullmatch(layout.buffers, name)
        and not (name in layout.zeros and not bool(theirs[name].any()))
    ]
