"""`workbench attention`: which heads do what on a prompt, and where one head looks."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from workbench.commands import options, output
from workbench.commands.corpus import add_corpus, open_corpus
from workbench.errors import InputError
from workbench.registry import Command
from workbench.sites import Head

if TYPE_CHECKING:  # torch must not load for --help
    from torch import Tensor

    from workbench.models import Model, Tokens


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", help="the text to run; or give --random")
    parser.add_argument("--head", help="show where one head looks, for example L5H1")
    parser.add_argument("--top", type=int, default=4, help="heads listed for each score (4)")
    parser.add_argument(
        "--random",
        type=int,
        metavar="N",
        help="instead of a prompt: N random tokens, repeated once (the induction test)",
    )
    parser.add_argument(
        "--corpus", metavar="NAME", help="instead of a prompt: scores averaged over a corpus"
    )
    parser.add_argument("--contexts", type=int, default=64, help="contexts with --corpus (64)")
    parser.add_argument("--batch", type=int, default=4, help="sequences with --random (4)")
    parser.add_argument("--seed", type=int, default=0, help="seed of --random (0)")
    add_corpus(parser)
    options.add_prompt(parser)
    options.add_model(parser)
    options.add_store(parser)
    options.add_output(parser)


def run(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from workbench import attention, figures

    given = (arguments.prompt, arguments.random, arguments.corpus)
    if sum(value is not None for value in given) != 1:
        raise InputError(
            "give one of: a prompt, --random N for random tokens repeated, --corpus NAME"
        )
    if arguments.corpus is not None:
        return _over_a_corpus(arguments)
    if min(1 if arguments.random is None else arguments.random, arguments.batch, arguments.top) < 1:
        raise InputError("--random, --batch and --top take whole numbers from 1")
    head = Head.parse(arguments.head) if arguments.head else None
    model, store = options.open_model(arguments), options.open_store(arguments)
    ids, tokens, fitted = _asked(arguments, model)

    started = time.perf_counter()
    found = attention.patterns(model, ids, store)
    scores = {name: found.scores(name).cpu() for name in attention.SCORES}
    shown = found.of(head)[0].float().cpu() if head else None
    seconds = time.perf_counter() - started

    best = {name: _best(values, arguments.top) for name, values in scores.items()}
    note = f"{model.name}, {model.processing}, {len(ids)} x {ids.shape[1]} tokens{fitted}"
    if arguments.json:
        output.dump(
            {
                "model": model.name,
                "fingerprint": model.identity.fingerprint,
                "tokens": list(tokens.strings),
                "chat_template_positions": sorted(tokens.template),
                "top": {k: [[str(h), v] for h, v in found] for k, found in best.items()},
                "scores": {name: values.tolist() for name, values in scores.items()},
                **({} if shown is None else {"head": str(head), "pattern": shown.tolist()}),
            }
        )
    else:
        rows = [[name, *(f"{h} {v:.2f}" for h, v in found)] for name, found in best.items()]
        output.table(f"top heads: {note}", ["score", *(["head"] * arguments.top)], rows)
        if shown is not None:
            output.table(
                f"{head}: where each token looks",
                ["pos", "token", "1st", "2nd", "3rd"],
                _looks(shown, tokens.labels),
            )
        cached = "cached" if found.capture.whole else "computed"
        output.say(f"{cached} in {seconds:.2f} s")
    if arguments.html:
        plots = [
            figures.head_scores(values.numpy(), name=name, title=f"{name} score: {note}")
            for name, values in scores.items()
        ]
        if shown is not None:
            title = f"{head} on the prompt: {note}"
            plots.insert(0, figures.pattern(shown.numpy(), tokens=tokens.labels, title=title))
        output.write_html(
            arguments.html, figures.page(plots, title="Attention", note=f"{note}: {tokens.text}")
        )
    files = [arguments.html] if arguments.html else []
    output.record("attention", model, ids.tolist(), arguments, seconds, files)
    return 0


def _over_a_corpus(arguments: Namespace) -> int:
    from workbench import attention, figures

    if arguments.head or arguments.chat:
        raise InputError("--head and --chat are for a prompt; leave them out with --corpus")
    if min(arguments.contexts, arguments.batch, arguments.top) < 1:
        raise InputError("--contexts, --batch and --top take whole numbers from 1")
    model = options.open_model(arguments)
    corpus = open_corpus(arguments, arguments.corpus, model)
    started = time.perf_counter()
    with options.bar("contexts") as progress:
        found = attention.corpus_scores(
            model, corpus, contexts=arguments.contexts, batch=arguments.batch, progress=progress
        )
    seconds = time.perf_counter() - started
    best = {name: _best(values, arguments.top) for name, values in found.mean.items()}
    size = f"{found.contexts} x {corpus.n_ctx} tokens of {corpus.name}"
    note = f"{model.name}, {model.processing}, {size}"
    if arguments.json:
        output.dump(
            {
                "model": model.name,
                "fingerprint": model.identity.fingerprint,
                "corpus": {
                    "name": corpus.name,
                    "digest": corpus.digest,
                    "contexts": found.contexts,
                },
                "top": {k: [[str(h), v] for h, v in heads] for k, heads in best.items()},
                "scores": {name: values.tolist() for name, values in found.mean.items()},
                "standard_errors": {name: values.tolist() for name, values in found.error.items()},
            }
        )
    else:
        rows = [
            [name, *(f"{h} {v:.2f} ± {found.error[name][h.layer, h.head]:.2f}" for h, v in heads)]
            for name, heads in best.items()
        ]
        output.table(f"top heads: {note}", ["score", *(["head"] * arguments.top)], rows)
        output.say(f"mean over queries ± standard error over contexts; {seconds:.1f} s")
    if arguments.html:
        plots = [
            figures.head_scores(values.numpy(), name=name, title=f"{name} score: {note}")
            for name, values in found.mean.items()
        ]
        output.write_html(arguments.html, figures.page(plots, title="Attention", note=note))
    files = [arguments.html] if arguments.html else []
    output.record("attention over a corpus", model, [], arguments, seconds, files)
    return 0


def _asked(arguments: Namespace, model: Model) -> tuple[Tensor, Tokens, str]:
    """Ids `[batch, pos]`, the tokens of the first row, and a word if fewer fitted than asked."""
    from workbench.attention import repeated_random
    from workbench.models import from_ids

    if arguments.random is None:
        tokens = model.tokenize(arguments.prompt, bos=options.bos(arguments), chat=arguments.chat)
        return tokens.tensor(model.device), tokens, ""
    ids = repeated_random(
        model, length=arguments.random, batch=arguments.batch, seed=arguments.seed
    )
    has_bos = model.vocabulary.bos_id is not None
    drawn = (ids.shape[1] - has_bos) // 2
    less = f" (blocks of {drawn}: no more fit)" if drawn < arguments.random else ""
    return ids, from_ids(model.vocabulary, ids[0].tolist(), bos=has_bos), less


def _best(values, top: int) -> list[tuple[Head, float]]:
    """The heads with the highest scores; none where the score is not defined."""
    n_heads = values.shape[1]
    flat = values.flatten()
    if flat.isnan().any():
        return []
    order = flat.argsort(descending=True)[:top].tolist()
    return [(Head(i // n_heads, i % n_heads), float(flat[i])) for i in order]


def _looks(pattern, labels) -> list[list[object]]:
    rows = []
    for position, row in enumerate(pattern):
        keys = row.argsort(descending=True)[:3].tolist()
        cells = [f"{labels[key]} ({key}) {float(row[key]):.2f}" for key in keys if row[key] > 0]
        rows.append([position, labels[position], *cells])
    return rows


COMMAND = Command("head scores and attention patterns on a prompt", configure, run)
