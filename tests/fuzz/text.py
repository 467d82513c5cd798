"""Prompts of all sorts of characters, and the names of places in a model."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.fuzz.changes import of_text
from tests.fuzz.target import Case, Target, text_target
from tests.fuzz.weights import tiny
from workbench.errors import InputError
from workbench.hooks import sites
from workbench.labs.superposition.spread import spread
from workbench.models import Model, load
from workbench.models.tokens import token_id, tokenize
from workbench.sites import Head, Site, expand
from workbench.training import changed, recipe_named

PROMPTS = (
    "When Mary and John went to the store",
    "Die Brücke — 橋 🌉\u200d\u0301 — \u202e\ttab\r\nline",
    "the <|endoftext|> the",
    "".join(map(chr, range(32, 300))),
)
LABELS = ("a b c a b", "a", "  b \n c ")
MILLION = 10**6
PER_BYTE = 400  # bytes that a tokenizer takes for each of the text's, where each is a token


def targets(case: Case, made: Path) -> Iterator[Target]:
    words, letters = load(str(tiny(made)), device="cpu"), load("induction-by-hand", device="cpu")
    yield text_target("prompt, bytes", PROMPTS, lambda text: _tokenized(words, text))
    known = " ".join(letters.vocabulary.string(n) for n in range(1, 6))
    yield text_target("prompt, labels", [known], lambda text: _tokenized(letters, text))
    # Seeds are sound, not too long: a context is 64 tokens.
    yield Target("prompt, long", PROMPTS[:1], _long, words.tokenize, growth=PER_BYTE * 4 * MILLION)
    yield text_target(
        "sites", ["0.resid_post", "L0H1.z", "*.pattern", "0-0.mlp_out", "blocks.0.hook_resid_post"],
        lambda text: _sites(words, text),
    )  # fmt: skip
    yield text_target("head", ["L5H1", "0.1"], Head.parse)
    yield text_target("numbers", ["1,0.3,0.1", "1..0.01 in 20"], lambda t: spread("x", t, 1e-4, 1))
    recipe = recipe_named("grokking")
    yield text_target("knobs", ["59", "7"], lambda t: changed(recipe, {"p": t}))
    yield text_target("knobs' names", ["p", "seed"], lambda t: changed(recipe, {t: "7"}))


def _sites(model: Model, text: str) -> None:
    with suppress(InputError):
        Site.parse(text)
    expand(text, sites(model))


def _tokenized(model: Model, text: str) -> None:
    vocabulary = model.vocabulary
    tokens = tokenize(vocabulary, text, limit=10**9)
    assert len(tokens.labels) == len(tokens.offsets)
    vocabulary.decode(tokens.ids)
    with suppress(InputError):
        token_id(vocabulary, text[:4])
    with suppress(InputError):
        tokenize(vocabulary, text[:10_000], limit=10**9, chat=True)
    with suppress(InputError):
        model.tokenize(text)  # within the model's own context


def _long(draw: Random, text: str) -> str:
    """A million characters: one repeated, or a text."""
    part = of_text(draw, text)[:100] if draw.random() < 0.5 else draw.choice("a \n\0é🌉́")
    return (part * (MILLION // max(1, len(part))))[:MILLION] or "a" * MILLION
