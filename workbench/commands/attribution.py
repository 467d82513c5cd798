"""`workbench attribution`: which components wrote a logit difference."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command
from workbench.sites import Head

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.attribution import Attribution, Question
    from workbench.cache import Store
    from workbench.models import Model, Tokens


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("prompt", help="the text to run")
    parser.add_argument("--answer", required=True, help='the token asked about, such as " Mary"')
    parser.add_argument("--wrong", help="the token it is compared with (default: none)")
    parser.add_argument(
        "--position", type=int, default=-1, help="where the logits are read (-1, the last token)"
    )
    parser.add_argument("--top", type=int, default=12, help="components listed (12)")
    parser.add_argument("--head", help="also: where a head, such as L9H6, brought it from")
    parser.add_argument("--layer", type=int, help="also: the neurons of this layer's MLP")
    options.add_prompt(parser)
    options.add_model(parser)
    options.add_store(parser)
    options.add_output(parser)


@dataclass(frozen=True)
class _Inside:
    """A component taken apart: the shares of its parts, by name."""

    title: str
    axis: str
    names: list[str]
    shares: list[float]

    @property
    def rows(self) -> list[list[object]]:
        """The parts that weigh most first, those that would read 0 left out."""
        pairs = zip(self.names, self.shares, strict=True)
        ordered = sorted(pairs, key=lambda pair: -abs(pair[1]))
        return [[name, f"{share:+.4f}"] for name, share in ordered if abs(share) >= 5e-5]


def run(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from workbench.attribution import attribute

    if arguments.top < 1:
        raise InputError("--top takes a whole number from 1")
    if arguments.wrong == arguments.answer:
        raise InputError("--wrong is the same token as --answer: their difference is 0 everywhere")
    head = Head.parse(arguments.head) if arguments.head else None
    model, store = options.open_model(arguments), options.open_store(arguments)
    tokens = model.tokenize(arguments.prompt, bos=options.bos(arguments), chat=arguments.chat)
    asked = _question(arguments, model, tokens)
    started = time.perf_counter()
    found = attribute(model, asked, store)
    inside = _insides(arguments, model, store, tokens, asked, head)
    seconds = time.perf_counter() - started

    place = int(asked.columns[0])
    against = "" if arguments.wrong is None else f" less that of {arguments.wrong!r}"
    note = (
        f"logit of {arguments.answer!r}{against} after {tokens.labels[place]} ({place}), "
        f"{model.name}, {model.processing}"
    )
    if arguments.json:
        output.dump(_plain(found, inside, model, tokens, place))
    else:
        output.say(f"{note}\n{_sum(found)}")
        rows = [[name, f"{share:+.4f}"] for name, share in found.top(arguments.top)]
        output.table("components", ["component", "share"], rows)
        for part in inside:
            output.table(part.title, [part.axis, "share"], part.rows[: arguments.top])
        cached = "cached" if found.capture.whole else "computed"
        output.say(f"{cached} in {seconds:.2f} s")
    if arguments.html:
        _write(arguments, found, inside, note)
    files = [arguments.html] if arguments.html else []
    output.record("attribution", model, [tokens.ids], arguments, seconds, files)
    return 0


def _question(arguments: Namespace, model: Model, tokens: Tokens) -> Question:
    from torch import tensor

    from workbench.attribution import Question

    length = len(tokens)
    if not -length <= arguments.position < length:
        raise InputError(
            f"--position {arguments.position} is outside the prompt, {-length} to {length - 1}"
        )
    answer, wrong = (
        None if text is None else tensor([model.token_id(text)])
        for text in (arguments.answer, arguments.wrong)
    )
    assert answer is not None, "--answer is required"
    position = tensor([arguments.position % length])
    return Question(tokens.tensor(), answer, wrong, position=position)


def _insides(
    arguments: Namespace,
    model: Model,
    store: Store,
    tokens: Tokens,
    asked: Question,
    head: Head | None,
) -> list[_Inside]:
    from workbench.attribution import by_source, neurons
    from workbench.models.weights import check_head

    parts = []
    if head is not None:
        check_head(model, head)
        shares = by_source(model, asked, [head.layer], store)[0, 0, head.head].tolist()
        names = [f"{label} ({place})" for place, label in enumerate(tokens.labels)]
        parts.append(_Inside(f"{head}, by the position it was brought from", "from", names, shares))
    if arguments.layer is not None:
        found = neurons(model, asked, arguments.layer, k=arguments.top, store=store)
        names = [*(f"neuron {number}" for number in found.index[0].tolist()), "all others", "bias"]
        shares = [*found.values[0].tolist(), float(found.rest[0]), float(found.bias[0])]
        parts.append(_Inside(f"L{arguments.layer} MLP, by neuron", "neuron", names, shares))
    return parts


def _sum(found: Attribution) -> str:
    whole, total, rest = (
        float(value[0]) for value in (found.logit_difference, found.total, found.remainder)
    )
    return f"logit difference {whole:.4f}, sum of all components {total:.4f}, remainder {rest:.1e}"


def _plain(
    found: Attribution, inside: list[_Inside], model: Model, tokens: Tokens, place: int
) -> dict[str, Any]:
    return {
        "model": model.name,
        "fingerprint": model.identity.fingerprint,
        "tokens": list(tokens.strings),
        "position": place,
        "logit_difference": float(found.logit_difference[0]),
        "sum": float(found.total[0]),
        "remainder": float(found.remainder[0]),
        "components": {name: float(share[0]) for name, share in found.parts.items()},
        "heads": found.heads[0].tolist(),
        "accumulated": found.accumulated[0].tolist(),
        "inside": {part.title: dict(zip(part.names, part.shares, strict=True)) for part in inside},
    }


def _write(arguments: Namespace, found: Attribution, inside: list[_Inside], note: str) -> None:
    import numpy as np

    from workbench import figures

    top = found.top(arguments.top)
    plots = [
        figures.shares(
            np.array([share for _, share in top]),
            names=[name for name, _ in top],
            axis="component",
            title=_sum(found),
        ),
        figures.head_shares(found.heads[0].cpu().numpy(), title="shares of the heads"),
        *(
            figures.shares(
                np.array(part.shares), names=part.names, axis=part.axis, title=part.title
            )
            for part in inside
        ),
    ]
    output.write_html(
        arguments.html, figures.page(plots, title="Direct logit attribution", note=note)
    )


COMMAND = Command("which components wrote a logit, or a difference of two", configure, run)
