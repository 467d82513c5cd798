"""Two prompts from one template: the same sentence with other words, and where the words lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from workbench.errors import InputError
from workbench.models import Model
from workbench.tasks.pairs import Pair, last_token_of


@dataclass(frozen=True)
class Written:
    """A text, and the characters (start, end) at which each of its words lies."""

    text: str
    spans: Mapping[str, tuple[int, int]]


def written(template: str, words: Mapping[str, str]) -> Written:
    """A template such as `The capital of {subject} is`, filled in."""
    text, spans = "", {}
    for literal, name, _, _ in Formatter().parse(template):
        text += literal
        if name is not None:
            spans[name] = (len(text), len(text) + len(words[name]))
            text += words[name]
    return Written(text, spans)


def contrast(
    model: Model,
    template: str,
    clean: Mapping[str, str],
    corrupted: Mapping[str, str],
    *,
    answers: Sequence[int],
    wrongs: Sequence[int],
    places: Sequence[str],
) -> Pair:
    """The template filled in twice, as a pair; a place is the last token of the word so named."""
    prompts = [written(template, words) for words in (clean, corrupted)]
    tokens = [model.tokenize(prompt.text) for prompt in prompts]
    found, other = (
        {name: last_token_of(row, *prompt.spans[name]) for name in places}
        for prompt, row in zip(prompts, tokens, strict=True)
    )
    made = Pair(tokens[0], tokens[1], tuple(answers), tuple(wrongs), found)
    if found != other:
        raise InputError(
            f"{model.name} has the words of {prompts[0].text!r} and {prompts[1].text!r} at other "
            f"positions ({found} and {other}); this task cannot be asked of its vocabulary"
        )
    return made
