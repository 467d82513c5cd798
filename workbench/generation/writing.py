"""Text from a model: greedy or sampled, in batches, with edits in force.

Prompts of different lengths stand in one batch, padded on the left and masked, so that a row
gives what it gives alone. Models in the Hub's format compute every position once and keep its
keys and values; native ones, which have no such cache, are run whole for each new token.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from workbench.errors import InputError
from workbench.generation.drawing import Draw
from workbench.hooks import Edit, run, sites
from workbench.hooks.edits import edited
from workbench.models import Model, Tokens, pad
from workbench.models.tokens import Vocabulary
from workbench.sites import Site, expand


@dataclass(frozen=True)
class Generation:
    """A prompt and what the model wrote after it.

    `stopped` says why it ended: at a stop token (the last of `ids`, left out of `text`), at the
    length asked for, or where the context was full; None while it goes on.
    """

    prompt: Tokens
    ids: tuple[int, ...]
    stopped: Literal["stop", "length", "context"] | None
    vocabulary: Vocabulary = field(repr=False, compare=False)

    @property
    def strings(self) -> tuple[str, ...]:
        """The new tokens, one by one."""
        return tuple(self.vocabulary.string(token) for token in self.ids)

    @cached_property
    def text(self) -> str:
        """The new text: characters of several tokens are whole, unlike in `strings`."""
        written = self.ids[:-1] if self.stopped == "stop" else self.ids
        before = self.vocabulary.decode(self.prompt.ids)
        return self.vocabulary.decode([*self.prompt.ids, *written])[len(before) :]


def generate(
    model: Model,
    prompts: str | Tokens | Sequence[str | Tokens],
    *,
    max_new_tokens: int = 50,
    edits: Sequence[Edit] = (),
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop: str | int | Sequence[str | int] = (),
    eos: bool = True,
    bos: bool | None = None,
    chat: bool = False,
) -> tuple[Generation, ...]:
    """What the model writes after each prompt; the arguments are those of `stream`."""
    *_, rows = stream(
        model,
        prompts,
        max_new_tokens=max_new_tokens,
        edits=edits,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=stop,
        eos=eos,
        bos=bos,
        chat=chat,
    )
    return rows


def stream(
    model: Model,
    prompts: str | Tokens | Sequence[str | Tokens],
    *,
    max_new_tokens: int = 50,
    edits: Sequence[Edit] = (),
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop: str | int | Sequence[str | int] = (),
    eos: bool = True,
    bos: bool | None = None,
    chat: bool = False,
) -> Iterator[tuple[Generation, ...]]:
    """All rows as they stand after each new token, until the last one has stopped.

    Temperature 0 takes the likeliest token; above it, tokens are drawn, from the `top_k`
    likeliest and from the least set with probability `top_p` (nucleus sampling, Holtzman et al.
    2020), in this order. Row i draws by (`seed`, i) alone: its text hangs on no other row. A
    row ends at a token of `stop` (ids, or texts of one token) and, with `eos`, at those the
    vocabulary ends texts with. `bos` and `chat` say how texts become tokens.

    An edit's function sees every position once, when it is computed: first the prompts,
    `[batch, pos, ...]` padded on the left, then each new token, `[batch, 1, ...]` (at `pattern`
    and `scores` these are queries; at `logits` it sees the last position alone). The batch
    keeps its rows; one that has stopped goes on unheard.

    Raises `InputError` for all wrong arguments at once, for prompts that leave no room in the
    context, and for logits that are not finite.
    """
    given = [prompts] if isinstance(prompts, str | Tokens) else list(prompts)
    stop = [stop] if isinstance(stop, str | int) else list(stop)
    _check(given, max_new_tokens, temperature, top_k, top_p, seed)
    rows = [model.tokenize(p, bos=bos, chat=chat) if isinstance(p, str) else p for p in given]
    n_ctx = model.architecture.n_ctx
    if full := [f"prompt {i} has {len(row):,}" for i, row in enumerate(rows) if len(row) >= n_ctx]:
        raise InputError(
            f"no room for a new token in the model's context of {n_ctx:,} tokens: "
            f"{', '.join(full)}; shorten it"
        )
    stops = _stops(model, stop) | set(model.vocabulary.stop_ids if eos else ())
    draw = Draw(temperature, top_k, top_p, seed, len(rows))
    return _steps(model, rows, max_new_tokens, edits, draw, stops)


def _check(
    prompts: Sequence[str | Tokens],
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
) -> None:
    foreign = [type(p).__name__ for p in prompts if not isinstance(p, str | Tokens)]
    if foreign:
        raise InputError(
            f"a prompt is a {foreign[0]}; give texts, or Tokens such as `models.from_ids` makes"
        )
    empty = [i for i, p in enumerate(prompts) if not (p.strip() if isinstance(p, str) else p.ids)]
    filters = (top_k, top_p) != (None, None)
    rules = [
        (len(prompts) > 0, "no prompt is given; give at least one"),
        (not empty, f"prompt {', '.join(map(str, empty))} is empty; write at least one token"),
        (
            _whole(max_new_tokens, 1),
            f"max_new_tokens {max_new_tokens} must be whole, from 1",
        ),
        (0 <= temperature < math.inf, f"temperature {temperature} must be 0 (greedy) or more"),
        (top_k is None or _whole(top_k, 1), f"top_k {top_k} must be a whole number from 1"),
        (top_p is None or 0 < top_p <= 1, f"top_p {top_p} must lie above 0 and at most at 1"),
        (temperature != 0 or not filters, "top_k and top_p need a temperature above 0"),
        (_whole(seed, 0), f"seed {seed} must be a whole number from 0"),
    ]
    if faults := [told for kept, told in rules if not kept]:
        raise InputError("; ".join(faults))


def _whole(number: object, least: int) -> bool:
    return type(number) is int and number >= least


def _stops(model: Model, stop: Sequence[str | int]) -> set[int]:
    ids = {model.token_id(one) if isinstance(one, str) else one for one in stop}
    if outside := [i for i in sorted(ids) if not 0 <= i < model.architecture.d_vocab]:
        raise InputError(
            f"stop token {outside[0]} is outside the vocabulary of {model.architecture.d_vocab:,}"
        )
    return ids


def _steps(
    model: Model,
    prompts: Sequence[Tokens],
    max_new_tokens: int,
    edits: Sequence[Edit],
    draw: Draw,
    stops: set[int],
) -> Iterator[tuple[Generation, ...]]:
    n_ctx, caches = model.architecture.n_ctx, model.bridge_road.caches
    if not caches:
        edits = _each_position_once(model, edits)
    rows = tuple(Generation(prompt, (), None, model.vocabulary) for prompt in prompts)
    batch = pad([prompt.ids for prompt in prompts], side="left", device=model.device)
    ids, mask, past = batch.ids, batch.mask, None
    padded = not bool(mask.all())
    while any(row.stopped is None for row in rows):
        ran = run(
            model,
            ids if past is None else ids[:, -1:],
            edit=edits,
            mask=mask if padded else None,
            past=past,
            keep_past=caches,
            logits_at=-1,
        )
        assert ran.logits is not None
        new = draw(ran.logits[:, 0])
        rows = tuple(
            row if row.stopped else _grown(row, token, max_new_tokens, n_ctx, stops)
            for row, token in zip(rows, new, strict=True)
        )
        yield rows
        # Columns older than the context are padding in every row that goes on.
        ids = torch.cat([ids, torch.tensor(new, device=ids.device)[:, None]], dim=1)[:, -n_ctx:]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)[:, -n_ctx:]
        past = ran.past and ran.past.last(n_ctx - 1)


def _grown(
    row: Generation, token: int, max_new_tokens: int, n_ctx: int, stops: set[int]
) -> Generation:
    """The row with one more token, and whether it ends there."""
    ids = (*row.ids, token)
    stopped = None
    if token in stops:
        stopped = "stop"
    elif len(ids) == max_new_tokens:
        stopped = "length"
    elif len(row.prompt) + len(ids) == n_ctx:
        stopped = "context"
    return replace(row, ids=ids, stopped=stopped)


def _each_position_once(model: Model, edits: Sequence[Edit]) -> list[Edit]:
    """The same edits for forwards that run all positions anew, each with a memory of its own."""
    available = sites(model)
    return [
        Edit(place, edit.function)
        if place.name == "logits"  # the last position alone, as it is
        else Edit(place.whole, _Remembering(place, edit))
        for edit in edits
        for place in expand(edit.site, available)
    ]


class _Remembering:
    """Hands an edit's function the new positions alone and sets in what it made of the others."""

    def __init__(self, place: Site, edit: Edit) -> None:
        self.place, self.edit = place, edit
        self.made: Tensor | None = None

    def __call__(self, tensor: Tensor) -> Tensor:
        before = 0 if self.made is None else tensor.shape[1] - 1
        new, _ = edited(self.place, self.edit, tensor[:, before:], None)
        self.made = new if self.made is None else torch.cat([self.made[:, -before:], new], dim=1)
        return self.made
