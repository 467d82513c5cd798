"""`workbench sae features`: what each latent is active on, kept beside the SAE and shown."""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.commands.sae_asked import latents
from sae.commands.sae_rows import rows_of
from workbench.commands import options, output
from workbench.commands.corpus import open_corpus
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load for --help
    from sae.activity import Activity
    from sae.dictionary import SAE
    from sae.explanations import Rule
    from sae.features import Example, Feature
    from workbench.corpus import Corpus
    from workbench.models import Model

ACTIVITY, RULES = "activity.safetensors", "rules.json"


def features(arguments: Namespace) -> int:
    # torch loads here, not for --help
    import torch

    from sae.explanations import median_f1
    from sae.features import feature
    from sae.saved import load_sae

    model = options.open_model(arguments)
    sae = load_sae(arguments.file, model)
    corpus = open_corpus(arguments, arguments.corpus, model)
    started = time.perf_counter()
    found, rules = _described(arguments, sae, model, corpus)
    draw = torch.Generator().manual_seed(0)
    some = torch.randperm(sae.n_latents, generator=draw)[: arguments.random].tolist()
    asked = latents(arguments)
    pages = [feature(sae, found, corpus, model, one) for one in asked or some]
    seconds = time.perf_counter() - started
    if arguments.json:
        output.dump([_plain(page, rules[page.latent], model) for page in pages])
    else:
        for page in pages if asked else ():
            _show(page, rules[page.latent], model)
        if not asked:
            _table(pages, rules, model)
        output.say(
            f"median held-out F1 of the rules {median_f1(rules):.2f}, over "
            f"{len(rules) - rules.count(None):,} of {len(rules):,} latents; {seconds:.0f} s"
        )
    output.record("sae features", model, [], arguments, seconds, [arguments.file])
    return 0


def _described(
    arguments: Namespace, sae: SAE, model: Model, corpus: Corpus
) -> tuple[Activity, list[Rule | None]]:
    """From the SAE's folder, where they are of this corpus; else made, and kept there."""
    from sae.activity import activity, load_activity, save_activity
    from sae.explanations import explain, load_rules, save_rules, text_of

    folder = _place(arguments.file)
    kept, told = folder / ACTIVITY, folder / RULES
    if kept.exists() and told.exists() and not arguments.again:
        found = load_activity(kept)
        if found.corpus != corpus.digest:
            raise InputError(
                f"{kept} is of another corpus than {corpus.name}; give that, or --again to read "
                "this one"
            )
        return found, load_rules(told)
    rows = rows_of(arguments, model, corpus)
    with options.bar("rows") as progress:
        found = activity(sae, rows, progress)
    with options.bar("rules") as progress:
        rules = explain(found, text_of(corpus, rows.train, rows.held_out), progress)
    save_activity(found, kept)
    save_rules(rules, told)
    return found, rules


def _place(name: Path) -> Path:
    """The SAE's own folder; for a shipped one, a folder under the home."""
    from sae.saved import SHIPPED
    from workbench.home import home

    if str(name) not in SHIPPED:
        return name
    folder = home() / "saes" / str(name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _table(pages: list[Feature], rules: list[Rule | None], model: Model) -> None:
    rows = [
        [
            page.latent,
            f"{page.density:.4%}",
            _rule(rules[page.latent], model),
            _score(rules[page.latent]),
            _text(page.top[0], model) if page.top else "never active",
        ]
        for page in pages
    ]
    columns = ["latent", "density", "rule", "F1, held out", "strongest example"]
    output.table(f"{len(pages)} latents, drawn by chance", columns, rows)


def _show(page: Feature, rule: Rule | None, model: Model) -> None:
    string = model.vocabulary.string
    output.table(
        f"latent {page.latent}: active in {page.density:.3%} of rows, at most {page.largest:.2f}",
        ["", ""],
        [
            ["rule", f"{_rule(rule, model)} (F1 {_score(rule)} on held-out text)"],
            ["promotes", ", ".join(repr(string(token)) for token, _ in page.promoted)],
            ["suppresses", ", ".join(repr(string(token)) for token, _ in page.suppressed)],
            ["neighbours", ", ".join(f"{i} ({c:.2f})" for i, c in page.neighbours)],
            ["tokens", ", ".join(f"{string(t)!r} {mean:.2f}" for t, _, mean in page.tokens)],
        ],
    )
    examples = [[f"{one.value:.2f}", _text(one, model)] for one in page.top]
    output.table("strongest", ["activation", "text"], examples)
    between = [[f"{one.value:.2f}", _text(one, model)] for band in page.bands for one in band]
    output.table("from equal parts of its range", ["activation", "text"], between)


def _rule(rule: Rule | None, model: Model, n: int = 6) -> str:
    if rule is None:
        return "none"
    words = [" ".join(_string(token, model) for token in word) for word in rule.words[:n]]
    more = f" and {len(rule.words) - n} more" if len(rule.words) > n else ""
    return f"{rule.sort}: {', '.join(words)}{more}"


def _string(token: int, model: Model) -> str:
    return "(start)" if token < 0 else repr(model.vocabulary.string(token))


def _score(rule: Rule | None) -> str:
    return "" if rule is None else f"{rule.f1:.2f}"


def _text(example: Example, model: Model) -> str:
    """The token in question in arrows."""
    strings = [model.vocabulary.string(int(token)) for token in example.ids]
    at = example.pos - example.first
    return ("".join(strings[:at]) + f"»{strings[at]}«" + "".join(strings[at + 1 :])).replace(
        "\n", "↵"
    )


def _plain(page: Feature, rule: Rule | None, model: Model) -> dict[str, Any]:
    return {
        "latent": page.latent,
        "density": page.density,
        "largest": page.largest,
        "rule": rule and asdict(rule),
        "examples": [
            {"text": _text(one, model), "ids": one.ids.tolist(), "values": one.values.tolist()}
            for one in page.top
        ],
        "promoted": page.promoted,
        "suppressed": page.suppressed,
        "neighbours": page.neighbours,
        "tokens": page.tokens,
        "histogram": {"edges": page.edges.tolist(), "counts": page.histogram.tolist()},
        "positions": page.positions.tolist(),
    }
