"""`workbench sae features`: what each latent is active on, kept beside the SAE and shown."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sae.commands.sae_asked import latents
from sae.commands.sae_opened import check_held_out, mark, marked, opened_apart
from sae.commands.sae_rows import corpus_of, rows_of
from workbench.commands import options, output
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load for --help
    from sae.activity import Activity
    from sae.atlas import Atlas
    from sae.dictionary import SAE
    from sae.features import Example, Feature
    from sae.rules import Rule
    from sae.samples import Samples
    from workbench.corpus import Corpus
    from workbench.models import Model

_TEXT = ("corpus", "n_ctx", "max_tokens", "text", "split", "subset")  # which text, and its cut
ACTIVITY, RULES = "activity.safetensors", "rules.json"


def features(arguments: Namespace) -> int:
    # torch loads here, not for --help
    import torch

    from sae.rules import median_f1

    model = options.open_model(arguments)
    sae = opened_apart(arguments, model)
    started = time.perf_counter()
    atlas = atlas_for(arguments, sae, model)
    draw = torch.Generator().manual_seed(0)
    some = torch.randperm(sae.n_latents, generator=draw)[: arguments.random].tolist()
    asked = latents(arguments)
    pages = [atlas.feature(one) for one in asked or some]
    seconds = time.perf_counter() - started
    if arguments.json:
        output.dump([{**plain(atlas, page), **marked(sae)} for page in pages])
    else:
        for page in pages if asked else ():
            _show(atlas, page)
        if not asked:
            _table(atlas, pages)
        output.say(
            f"on {atlas.n_rows:,} rows of {atlas.corpus_name}{mark(sae)}: median held-out F1 of "
            f"the rules {median_f1(atlas.rules):.2f} (of as many random directions "
            f"{atlas.random_f1:.2f}), over {len(atlas.rules) - atlas.rules.count(None):,} of "
            f"{atlas.n_latents:,} latents; {seconds:.0f} s"
        )
    output.record("sae features", model, [], arguments, seconds, [arguments.file])
    return 0


def atlas_for(arguments: Namespace, sae: SAE, model: Model) -> Atlas:
    """What is known of an SAE's latents: read where it is at hand, else made, and kept there."""
    from sae.atlas import ATLAS, atlas_of, make_atlas, place_of, save_atlas
    from sae.rules import median_f1, of_random_directions

    kept = None if arguments.again else atlas_of(arguments.file)
    usual = sae.card.get("arguments") or {}
    if kept is not None and all(getattr(arguments, name) == usual.get(name) for name in _TEXT):
        return kept
    corpus = corpus_of(arguments, model)
    sae = check_held_out(sae, corpus, arguments.insist)
    if kept is not None:
        _check(kept.corpus, kept.corpus_name, corpus)
        return kept
    rows = rows_of(arguments, model, corpus)
    found, rules = _described(arguments, sae, rows)
    with options.bar("latents of random directions") as progress:
        k = sae.k or max(1, round(len(found.places) / found.n_rows))
        by_chance = of_random_directions(sae, rows, k, progress)
    with options.bar("latents") as progress:
        atlas = make_atlas(
            sae, found, corpus, model, rules, progress, random_f1=median_f1(by_chance)
        )
    save_atlas(atlas, place_of(arguments.file) / ATLAS)
    return atlas


def _described(arguments: Namespace, sae: SAE, rows: Samples) -> tuple[Activity, list[Rule | None]]:
    """From the SAE's place, where they are of this corpus; else made, and kept there."""
    from sae.activity import activity, load_activity, save_activity
    from sae.atlas import place_of
    from sae.rules import explain, load_rules, save_rules, text_of

    folder, corpus = place_of(arguments.file), rows.harvest.corpus
    kept, told = folder / ACTIVITY, folder / RULES
    if arguments.again or not kept.exists():
        told.unlink(missing_ok=True)  # rules are of the rows whose activity lies beside them
        with options.bar("rows") as progress:
            found = activity(sae, rows, progress)
        folder.mkdir(parents=True, exist_ok=True)
        save_activity(found, kept)
    else:
        found = load_activity(kept)
        _check(found.corpus, "another", corpus)
    if told.exists():
        return found, load_rules(told)
    with options.bar("rules") as progress:
        rules = explain(found, text_of(corpus, rows.train, rows.held_out), progress)
    save_rules(rules, told)
    return found, rules


def _check(digest: str, name: str, corpus: Corpus) -> None:
    if digest != corpus.digest:
        raise InputError(
            f"what is known of these latents is of {name} text, not of {corpus.name}; leave "
            "--corpus out, or give --again to read this one"
        )


def _table(atlas: Atlas, pages: list[Feature]) -> None:
    rows = [
        [
            page.latent,
            f"{page.density:.4%}",
            atlas.rule(page.latent),
            _score(page.rule),
            atlas.strongest[page.latent] or "never active",
        ]
        for page in pages
    ]
    columns = ["latent", "density", "rule", "F1, held out", "strongest example"]
    output.table(f"{len(pages)} latents, drawn by chance", columns, rows)


def _show(atlas: Atlas, page: Feature) -> None:
    def listed(tokens: tuple[tuple[Any, ...], ...]) -> str:
        return ", ".join(repr(atlas.strings[token]) for token, *_ in tokens)

    means = ", ".join(f"{atlas.strings[token]!r} {mean:.2f}" for token, _, mean in page.tokens)
    output.table(
        f"latent {page.latent}: active in {page.density:.3%} of rows, at most {page.largest:.2f}",
        ["", ""],
        [
            ["rule", f"{atlas.rule(page.latent)} (F1 {_score(page.rule)} on held-out text)"],
            ["promotes", listed(page.promoted)],
            ["suppresses", listed(page.suppressed)],
            ["neighbours", ", ".join(f"{i} ({c:.2f})" for i, c in page.neighbours)],
            ["tokens", means],
        ],
    )
    _examples(atlas, "strongest", page.top)
    _examples(atlas, "from equal parts of its range", [one for some in page.bands for one in some])


def _examples(atlas: Atlas, title: str, examples: Sequence[Example]) -> None:
    rows = [[f"{one.value:.2f}", atlas.text(one)] for one in examples]
    output.table(title, ["activation", "text"], rows)


def _score(rule: Rule | None) -> str:
    return "" if rule is None else f"{rule.f1:.2f}"


def plain(atlas: Atlas, page: Feature) -> dict[str, Any]:
    """A latent's page as JSON."""
    return {
        "latent": page.latent,
        "density": page.density,
        "largest": page.largest,
        "rule": page.rule and asdict(page.rule),
        "examples": [
            {"text": atlas.text(one), "ids": one.ids.tolist(), "values": one.values.tolist()}
            for one in page.top
        ],
        "promoted": page.promoted,
        "suppressed": page.suppressed,
        "neighbours": page.neighbours,
        "tokens": page.tokens,
        "histogram": {"edges": page.edges.tolist(), "counts": page.histogram.tolist()},
        "positions": {"starts": page.starts.tolist(), "counts": page.positions.tolist()},
    }
