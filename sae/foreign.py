"""Dictionaries of other trainers: sparsify's folders, and dictionary_learning's as safetensors.

Nothing is ever unpickled: a `.pt` file can run code when it is read, so it is refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae.dictionary import SAE
from sae.folders import read_json, read_tensors, weights_of, write_new
from workbench.errors import InputError
from workbench.sites import Site

SPARSIFY, LEARNING = "sparsify", "dictionary_learning"
_FILES = {  # of each: its numbers and its weights
    SPARSIFY: ("cfg.json", "sae.safetensors"),
    LEARNING: ("config.json", "ae.safetensors"),
}
_CONVERT = (
    'd = torch.load("ae.pt", weights_only=True); '
    'safetensors.torch.save_file({n: w.contiguous() for n, w in d.items()}, "ae.safetensors")'
)
_HOOKPOINT = re.compile(r"(?:.*\.)?(?:layers|h)\.(\d+)(?:\.(mlp|attention|self_attn|attn))?")
_MODULES = {None: "resid_post", "mlp": "mlp_out"}  # all others are attention
_LEARNT_AT = {
    name: name for name in ("resid_pre", "resid_mid", "resid_post", "mlp_out", "attn_out")
} | {"resid_out": "resid_post"}
_LINEAR = ("encoder.weight", "encoder.bias", "decoder.weight")
_PLAIN = ("W_enc", "b_enc", "W_dec", "b_dec")
_CLASSES = {  # their encoder, its bias, their decoder, its bias
    "AutoEncoder": (*_LINEAR, "bias"),
    "AutoEncoderTopK": (*_LINEAR, "b_dec"),
    "BatchTopKSAE": (*_LINEAR, "b_dec"),
    "MatryoshkaBatchTopKSAE": _PLAIN,
    "JumpReluAutoEncoder": _PLAIN,
    "GatedAutoEncoder": ("encoder.weight", "mag_bias", "decoder.weight", "decoder_bias"),
}


def read_foreign(folder: Path) -> SAE | None:
    """The dictionary in a folder of sparsify or dictionary_learning; None where it is neither.

    Raises `InputError` for a pickled file, a kind that is not known and a site that is not told,
    `DamagedError` for what does not fit together.
    """
    for kind, names in _FILES.items():
        config, weights = (folder / name for name in names)
        if config.is_file() and weights.is_file():
            read = _sparsify if kind == SPARSIFY else _learning
            return read(weights, read_json(config), read_tensors(weights))
    pickled = [folder] if folder.suffix == ".pt" else sorted(folder.glob("*.pt"))
    if pickled and pickled[0].is_file():
        raise InputError(
            f"{pickled[0]} is pickled, and reading it could run anything; if you trust it, write "
            f"it as safetensors beside its config.json, in Python: {_CONVERT}"
        )
    return None


def save_foreign(sae: SAE, folder: Path, kind: str) -> Path:
    """Write a new folder as `kind` reads it: "sparsify" (TopK only) or "dictionary_learning".

    sparsify's is named after a module, and made inside `folder`. Gives the one that was written.
    Raises `InputError` for what that library has no dictionary for, and for a folder that exists.
    """
    if not bool((sae.b_in == sae.b_dec).all()):
        raise InputError(f"{kind} takes the decoder's bias off first; this SAE does not")
    config, tensors = _as_sparsify(sae) if kind == SPARSIFY else _as_learning(sae)
    name, weights = _FILES[kind]
    if kind == SPARSIFY:
        folder = folder / _hookpoint(sae.site)
    write_new(folder, weights, tensors, **{name.removesuffix(".json"): config})
    return folder


def _sparsify(path: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SAE:
    """TopK about the decoder's bias; rows of the decoder are as long as they are."""
    wrong = [name for name in ("transcode", "skip_connection", "signed") if config.get(name)]
    if (activation := config.get("activation", "topk")) != "topk":
        wrong.append(f"activation {activation}")
    if wrong:
        raise InputError(
            f"{path.parent} is sparsify's with {', '.join(wrong)}; what is read is its TopK SAE"
        )
    d, many, times = (config.get(n) or 0 for n in ("d_in", "num_latents", "expansion_factor"))
    if not all(type(number) is int for number in (d, many, times)):
        raise InputError(f"{path.parent}/cfg.json: d_in {d!r} and its like are whole numbers")
    n = many or d * times
    shapes = {"encoder.weight": (n, d), "encoder.bias": (n,), "W_dec": (n, d), "b_dec": (d,)}
    weights = weights_of(path, tensors, shapes)
    return SAE(
        site=_at_hookpoint(path.parent.resolve()),
        kind="topk",
        W_enc=weights["encoder.weight"],
        b_enc=weights["encoder.bias"],
        W_dec=weights["W_dec"],
        b_dec=weights["b_dec"],
        b_in=weights["b_dec"],
        k=config.get("k"),
        threshold=None,
        card={"trainer": SPARSIFY},
    )


def _hookpoint(site: Site) -> str:
    """The name of the module whose output a site is, as in a Llama."""
    modules = {"resid_post": "", "mlp_out": ".mlp", "attn_out": ".self_attn"}
    if site.name not in modules:
        raise InputError(f"sparsify reads what modules put out; {site} is none of {list(modules)}")
    return f"layers.{site.layer}{modules[site.name]}"


def _at_hookpoint(folder: Path) -> Site:
    """sparsify names a folder after the module whose output it reads, and a seed's inside it."""
    name = folder.parent.name if re.fullmatch(r"seed\d+", folder.name) else folder.name
    if name in ("embed_tokens", "embed_in", "wte"):
        return Site("embed")
    found = _HOOKPOINT.fullmatch(name)
    if found is None:
        raise InputError(
            f"the folder {name!r} does not say what sparsify's SAE reads; name it as sparsify "
            "does, after the module: layers.12, layers.12.mlp, h.5.attn"
        )
    return Site(_MODULES.get(found[2], "attn_out"), int(found[1]))


def _learning(path: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SAE:
    trainer = config.get("trainer")
    kind = trainer.get("dict_class") if isinstance(trainer, dict) else None
    if not isinstance(trainer, dict) or kind not in _CLASSES:
        raise InputError(
            f"{path.parent} is dictionary_learning's {kind!r}; known are {', '.join(_CLASSES)}"
        )
    d, n = (trainer.get(name, 0) for name in ("activation_dim", "dict_size"))
    encoder, b_enc, decoder, b_dec = _CLASSES[kind]
    linear = decoder == "decoder.weight"
    shapes = {
        encoder: (n, d) if linear else (d, n),
        b_enc: (n,),
        decoder: (d, n) if linear else (n, d),
        b_dec: (d,),
        **_more_shapes(kind, n),
    }
    weights = weights_of(path, tensors, shapes)
    W_enc = weights[encoder] if linear else weights[encoder].T
    W_dec = weights[decoder].T if linear else weights[decoder]
    bias, threshold = weights[b_enc], None
    if kind == "AutoEncoder":  # it makes them unit vectors when it reads them
        norms = W_dec.norm(dim=1)
        W_enc, bias, W_dec = W_enc * norms[:, None], bias * norms, W_dec / norms[:, None]
    if kind == "GatedAutoEncoder":  # with tied weights, a JumpReLU (Rajamanoharan et al. 2024)
        gain = weights["r_mag"].exp()
        W_enc, threshold = W_enc * gain[:, None], bias - gain * weights["gate_bias"]
    elif kind != "AutoEncoderTopK":
        threshold = weights.get("threshold", torch.zeros(())).expand(n)
    centred = kind != "JumpReluAutoEncoder"
    return SAE(
        site=_learnt_at(path.parent, trainer, config),
        kind={"AutoEncoder": "standard", "AutoEncoderTopK": "topk"}.get(kind, "jumprelu"),
        W_enc=W_enc.contiguous(),
        b_enc=bias,
        W_dec=W_dec.contiguous(),
        b_dec=weights[b_dec],
        b_in=weights[b_dec] if centred else torch.zeros_like(weights[b_dec]),
        k=trainer.get("k") if threshold is None else None,
        threshold=None if threshold is None else threshold.clamp_min(0),  # with a ReLU besides
        card={"trainer": LEARNING, "class": kind, "trained on": trainer.get("lm_name")},
    )


def _more_shapes(kind: str, n: int) -> dict[str, tuple[int, ...]]:
    if kind == "GatedAutoEncoder":
        return {"gate_bias": (n,), "r_mag": (n,)}
    if kind == "JumpReluAutoEncoder":
        return {"threshold": (n,)}
    return {"threshold": ()} if kind in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE") else {}


def _learnt_at(folder: Path, trainer: Mapping[str, Any], config: Mapping[str, Any]) -> Site:
    told, layer = trainer.get("submodule_name") or "", trainer.get("layer")
    named = next((site for name, site in _LEARNT_AT.items() if name in told), None)
    read = (config.get("buffer") or {}).get("io", "out")
    if named is None or not isinstance(layer, int) or read != "out":
        raise InputError(
            f"{folder}/config.json does not say what this SAE reads (trainer.submodule_name "
            f"{told!r}, trainer.layer {layer}, buffer.io {read!r}); put a name such as "
            f"resid_post_layer_8 there; known are {', '.join(_LEARNT_AT)}"
        )
    return Site(named, layer)


def _as_sparsify(sae: SAE) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if sae.k is None:
        raise InputError("sparsify has TopK dictionaries only; this one has thresholds")
    config = {"activation": "topk", "num_latents": sae.n_latents, "k": sae.k,
              "normalize_decoder": True, "d_in": len(sae.b_dec)}  # fmt: skip
    return config, {
        "encoder.weight": sae.W_enc,
        "encoder.bias": sae.b_enc,
        "W_dec": sae.W_dec,
        "b_dec": sae.b_dec,
    }


def _as_learning(sae: SAE) -> tuple[dict[str, Any], dict[str, Tensor]]:
    kind, more = "AutoEncoderTopK", {}
    if sae.k is not None:
        more = {"k": torch.tensor(sae.k, dtype=torch.int), "threshold": torch.tensor(-1.0)}
    elif sae.threshold is not None and not bool(sae.threshold.any()):
        kind = "AutoEncoder"
    elif sae.threshold is not None and bool((sae.threshold == sae.threshold[0]).all()):
        kind = "BatchTopKSAE"
        l0 = max(1, int(sae.card.get("recipe", {}).get("k", 1)))
        more = {"k": torch.tensor(l0, dtype=torch.int), "threshold": sae.threshold[0]}
    else:
        raise InputError("dictionary_learning has no centred SAE with thresholds of its own each")
    trainer = {
        "dict_class": kind,
        "activation_dim": len(sae.b_dec),
        "dict_size": sae.n_latents,
        **({"k": int(more["k"])} if more else {}),
        "layer": sae.site.layer,
        "lm_name": (sae.model or {}).get("name"),
        "submodule_name": f"{sae.site.name}_layer_{sae.site.layer}",
    }
    encoder, b_enc, decoder, b_dec = _CLASSES[kind]
    tensors = {encoder: sae.W_enc, b_enc: sae.b_enc, decoder: sae.W_dec.T, b_dec: sae.b_dec}
    return {"trainer": trainer}, tensors | more
