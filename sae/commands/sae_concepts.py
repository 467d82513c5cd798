"""`workbench sae evaluate --labels` and `--against`: what latents say, and whether they recur."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.commands.sae_opened import mark, marked, opened
from sae.commands.sae_rows import HELD_OUT, corpus_of, rows_of
from workbench.commands import options, output
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load for --help
    from sae.concepts import Concepts
    from sae.dictionary import SAE
    from workbench.labels import Labelled
    from workbench.models import Model

_OF_A_FILE = 0.25  # of its documents are held out: dictionaries were not trained on them
_BEST = 8  # properties shown


def of_labels(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from sae.concepts import concepts

    _check_no_page(arguments)
    model = options.open_model(arguments)
    sae = opened(arguments, model)
    labelled, share = _labelled(arguments, model)
    rows = rows_of(arguments, model, labelled.corpus, held_out=share)
    among = [one.strip() for one in (arguments.among or "").split(",") if one.strip()]
    started = time.perf_counter()
    with options.stages() as say:
        say(f"asking what latents say of {labelled.name}")
        found = concepts(sae, rows, labelled, among=among)
    seconds = time.perf_counter() - started
    if arguments.json:
        output.dump({**_plain(found), **marked(sae)})
    else:
        _show(found, labelled)
        output.say(f"{seconds:.0f} s{mark(sae)}")
    output.record("sae evaluate", model, [], arguments, seconds, [arguments.file])
    return 0


def of_others(arguments: Namespace) -> int:
    from sae.saved import load_sae
    from sae.stability import match

    _check_no_page(arguments)
    model = options.open_model(arguments)
    sae = opened(arguments, model)
    started, found = time.perf_counter(), {}
    others = {
        str(name): load_sae(name, model, insist=arguments.insist) for name in arguments.against
    }
    for name, other in others.items():
        if other.writes != sae.writes:
            raise InputError(f"{name} is {other.name}, {arguments.file} {sae.name}; compare alike")
        found[name] = match(sae.W_dec, other.W_dec)
    alike = [name for name, other in others.items() if _begun(other) == _begun(sae) is not None]
    seconds = time.perf_counter() - started
    if arguments.json:
        told = {
            name: {"mmcs": one.mean, "found again": one.found_again, "chance": one.chance}
            for name, one in found.items()
        }
        output.dump({**told, "same seed": alike, **marked(sae)})
    else:
        rows = [
            [name, f"{one.mean:.3f}", f"{one.chance:.3f}", f"{100 * one.found_again:.1f} %"]
            for name, one in found.items()
        ]
        columns = ["in", "mean largest cosine", "in random directions", "latents within .9"]
        output.table(f"latents of {arguments.file} again{mark(sae)}", columns, rows)
        if alike:
            output.say(f"begun from the same weights (same seed), which flatters: {alike}")
    output.record("sae evaluate", model, [], arguments, seconds, [arguments.file])
    return 0


def _check_no_page(arguments: Namespace) -> None:
    if arguments.html is not None:
        raise InputError("--labels and --against write no page; leave --html out")


def _begun(sae: SAE) -> tuple[int, int] | None:
    """What decides the first weights; None where nobody knows."""
    recipe = sae.card.get("recipe") or {}
    return (recipe["seed"], recipe["width"]) if {"seed", "width"} <= set(recipe) else None


def _labelled(arguments: Namespace, model: Model) -> tuple[Labelled, float]:
    """The labels, and the share of their documents that is to be held out."""
    from workbench.labels import label_source, read_labels

    path = Path(arguments.labels)
    if path.suffix:
        return read_labels(path, model, bos=options.bos(arguments)), _OF_A_FILE
    source = label_source(arguments.labels)
    return source.label(corpus_of(arguments, model), model.vocabulary), HELD_OUT


def _show(found: Concepts, labelled: Labelled) -> None:
    rows = [
        [name, f"{one.mean:.3f}", f"{one.reconstruction:.3f}", one.n_sure]
        for name, one in found.coverages.items()
    ]
    rows.append(["always yes", f"{found.always:.3f}", "", ""])
    title = (
        f"{len(found.properties)} properties of {labelled.name} ({found.left_out} too rare), "
        f"chosen on {found.n:,} rows, scored on {found.n_tested:,} of other documents"
    )
    columns = ["latents of", "coverage (F1)", "read together (F1)", "properties with a sure one"]
    output.table(title, columns, rows)
    probes = [
        [name, *(f"{float(score.mean()):.3f}" for score in scores.values()), ""]
        for name, scores in found.accuracies.items()
    ]
    ks = next(iter(found.accuracies.values()))
    probes += [
        [name, *[""] * len(ks), f"{float(one.mean()):.3f}"] for name, one in found.dense.items()
    ]
    output.table(
        "accuracy of sparse probes (chance: 0.5)", ["from", *(f"k={k}" for k in ks), "all"], probes
    )
    best = found.coverages["SAE"]
    one = found.accuracies["SAE"][1]
    order = best.f1.argsort(descending=True)[:_BEST].tolist()
    output.table(
        "the best",
        ["property", "latent", "above, of its largest", "F1", "accuracy, k=1"],
        [
            [
                found.properties[i],
                int(best.latents[i]),
                f"{float(best.shares[i]):.1f}",
                f"{float(best.f1[i]):.3f}",
                f"{float(one[i]):.3f}",
            ]
            for i in order
        ],
    )


def _plain(found: Concepts) -> dict[str, Any]:
    """The same as JSON."""
    coverages = {
        name: {
            "coverage": one.mean,
            "reconstruction": one.reconstruction,
            "n_sure": one.n_sure,
            **{key: getattr(one, key).tolist() for key in ("f1", "latents", "shares")},
        }
        for name, one in found.coverages.items()
    }
    return {
        **{key: value for key, value in vars(found).items() if isinstance(value, int | float)},
        "properties": found.properties,
        "coverages": coverages,
        "accuracies": {
            name: {k: score.tolist() for k, score in scores.items()}
            for name, scores in found.accuracies.items()
        },
        "dense": {name: one.tolist() for name, one in found.dense.items()},
    }
