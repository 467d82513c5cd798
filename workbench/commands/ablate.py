"""`workbench ablate`: what the model predicts without a head, a neuron or a whole site."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from workbench.commands import options, output
from workbench.commands.corpus import add_corpus, open_corpus
from workbench.errors import InputError
from workbench.registry import Command

if TYPE_CHECKING:  # torch must not load for --help
    from collections.abc import Sequence

    from torch import Tensor

    from workbench.hooks import Edit
    from workbench.interventions import Change
    from workbench.models import Model, Tokens

HOW = ("zero", "mean", "resample")


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("prompt", help="the text to run")
    parser.add_argument(
        "--site",
        action="append",
        required=True,
        help="what to ablate: L5H1.z, 5.mlp_post, *.attn_out (may be repeated)",
    )
    parser.add_argument(
        "--how", choices=HOW, default="zero", help="what is put in its place (default: %(default)s)"
    )
    parser.add_argument("--reference", metavar="CORPUS", help="with --how mean: the mean over it")
    parser.add_argument("--contexts", type=int, default=64, help="contexts of the reference (64)")
    parser.add_argument(
        "--donor", metavar="PROMPT", help="with --how resample: as many tokens as the prompt"
    )
    parser.add_argument(
        "--positions", metavar="N,N", help="only these, negative from the end: --positions=-1,3"
    )
    parser.add_argument("--units", metavar="N,N", help="only these of the last axis: neurons")
    parser.add_argument("--answer", help="with --wrong: the right next token")
    parser.add_argument("--wrong", help="the token that its logit is held against")
    parser.add_argument("--top", type=int, default=10, help="tokens in the table (10)")
    add_corpus(parser)
    options.add_prompt(parser)
    options.add_model(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(arguments: Namespace) -> int:
    _check(arguments)
    positions, units = (whole_numbers(arguments, name) for name in ("positions", "units"))
    # torch loads here, not for --help
    from workbench.interventions import changed

    model = options.open_model(arguments)
    tokens = model.tokenize(arguments.prompt, bos=options.bos(arguments), chat=arguments.chat)
    pair = [model.token_id(text) for text in (arguments.answer, arguments.wrong) if text]
    started = time.perf_counter()
    edits, how = _edits(arguments, model, tokens, positions, units)
    change = changed(model, tokens.tensor(model.device), edits)
    seconds = time.perf_counter() - started

    found = _described(model, change, pair, arguments.top)
    if arguments.json:
        about = {"model": model.name, "fingerprint": model.identity.fingerprint, "how": how}
        output.dump({**about, "tokens": list(tokens.strings), **found})
    else:
        _tell(found, f"{', '.join(arguments.site)} ({how}): {model.name}, {model.processing}")
        output.say(f"{seconds:.2f} s")
    output.record("ablate", model, [tokens.ids], arguments, seconds)
    return 0


def whole_numbers(arguments: Namespace, name: str) -> tuple[int, ...] | None:
    """The numbers of `--NAME 3,-1`; None where it is not given."""
    text = getattr(arguments, name)
    if text is None:
        return None
    try:
        return tuple(int(one) for one in text.split(","))
    except ValueError as error:
        raise InputError(
            f"--{name} {text!r} should be whole numbers with commas between, such as 3,-1"
        ) from error


def _check(arguments: Namespace) -> None:
    needs = {"mean": "reference", "resample": "donor"}
    rules = [
        (
            arguments.how not in needs or getattr(arguments, needs[arguments.how]) is not None,
            f"--how {arguments.how} needs --{needs.get(arguments.how)}",
        ),
        *(
            (
                getattr(arguments, name) is None or arguments.how == how,
                f"--{name} needs --how {how}",
            )
            for how, name in needs.items()
        ),
        (
            (arguments.answer is None) == (arguments.wrong is None),
            "--answer and --wrong go together: a logit difference needs both",
        ),
        (min(arguments.contexts, arguments.top) > 0, "--contexts and --top are 1 or more"),
    ]
    if faults := [told for kept, told in rules if not kept]:
        raise InputError("; ".join(faults))


def _edits(
    arguments: Namespace,
    model: Model,
    tokens: Tokens,
    positions: Sequence[int] | None,
    units: Sequence[int] | None,
) -> tuple[list[Edit], str]:
    """The edits, and in words what they put in."""
    from workbench import hooks
    from workbench.interventions import mean, resample, zero

    if arguments.how == "zero":
        return [zero(site, positions, units=units) for site in arguments.site], "zero"
    if arguments.how == "mean":
        whole = open_corpus(arguments, arguments.reference, model)
        part = whole.part(0, min(arguments.contexts, len(whole)))
        with options.bar("contexts") as progress:
            taken = mean(model, arguments.site, part, positions, units=units, progress=progress)
        return list(taken.edits), f"mean of {taken.rows:,} positions, {taken.reference}"
    donor = model.tokenize(arguments.donor, bos=options.bos(arguments), chat=arguments.chat)
    if len(donor) != len(tokens):
        raise InputError(
            f"the donor has {len(donor)} tokens, the prompt {len(tokens)}; give one of as many"
        )
    theirs = hooks.run(model, donor.tensor(model.device), read=arguments.site).activations
    edits = [resample(site, values, positions, units=units) for site, values in theirs.items()]
    return edits, f"resampled from {arguments.donor!r}"


def _described(model: Model, change: Change, pair: list[int], top: int) -> dict[str, Any]:
    import torch

    from workbench.metrics import logit_difference

    last = {"before": change.before[0, -1].float(), "after": change.after[0, -1].float()}
    found: dict[str, Any] = {
        "top": {when: _top(model, logits, top) for when, logits in last.items()},
        "kl": {"last": float(change.kl[0, -1]), "mean": change.mean_kl},
        "moved": {str(site): far for site, far in change.moved},
        "unmoved": [str(site) for site in change.unmoved],
    }
    if pair:
        answer, wrong = (torch.tensor(token, device=last["before"].device) for token in pair)
        found["logit_difference"] = {
            when: float(logit_difference(logits, answer, wrong)) for when, logits in last.items()
        }
    return found


def _top(model: Model, logits: Tensor, top: int) -> list[dict[str, Any]]:
    from workbench.metrics import top_tokens

    found = top_tokens(logits, top)
    columns = (found.ids.tolist(), found.logits.tolist(), found.probabilities.tolist())
    return [
        {"token": model.vocabulary.string(i), "logit": logit, "probability": probability}
        for i, logit, probability in zip(*columns, strict=True)
    ]


def _tell(found: dict[str, Any], title: str) -> None:
    from workbench.models import visible

    def cells(row: dict[str, Any]) -> list[str]:
        return [visible(row["token"]), f"{row['logit']:.2f} ({row['probability']:.3f})"]

    both = zip(found["top"]["before"], found["top"]["after"], strict=True)
    output.table(
        f"next token without {title}",
        ["rank", "before", "logit (p)", "after", "logit (p)"],
        [[rank, *cells(one), *cells(other)] for rank, (one, other) in enumerate(both)],
    )
    output.say(
        f"KL(before || after) {found['kl']['last']:.4f} nats at the last position, "
        f"{found['kl']['mean']:.4f} on average"
    )
    if difference := found.get("logit_difference"):
        output.say(
            f"logit difference {difference['before']:+.3f} before, {difference['after']:+.3f} after"
        )
    if found["unmoved"]:
        output.say(
            f"nothing moved at {', '.join(found['unmoved'])}: what was put in was there already"
        )


COMMAND = Command("predictions without a head, a neuron or a site", configure, run)
