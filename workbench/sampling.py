"""Text written by a model as a corpus of its own: on its distribution, and free to ship.

Batch i is a function of the recipe and i alone, so a sampling that was killed goes on with its
next batch and gives the texts that it would have given.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.cache.files import write_whole
from workbench.corpus.shipped import ship
from workbench.errors import InputError, misfit
from workbench.generation import generate
from workbench.models import Model

# What texts begin with: openings of many sorts, with places that are filled at random.
OPENINGS = {
    "story": (
        "Once upon a time, in {place}, there lived a {person} who",
        "{name} had never seen {thing} before. ",
        "The {person} opened the door of {place} and",
        "It was raining when {name} and {other} arrived at {place}.",
        "Nobody in {place} remembered why the {person}",
        "Chapter 1\n\nThe morning that {name} lost {thing},",
        "{name} looked at {thing} for a long time. ",
    ),
    "encyclopedia": (
        "{topic} is",
        "The history of {topic} begins",
        "In {field}, {topic} refers to",
        "{topic} was first described in",
        "{place} is known for",
        "The three main kinds of {topic} are",
        "Scientists who study {topic} have found that",
        "Introduction\n\nThis chapter is about {topic} and its place in {field}.",
    ),
    "dialogue": (
        '"Where have you put {thing}?" asked {name}.',
        "{name}: What do you think about {topic}?\n{other}:",
        '"I have never liked {place}," said the {person}. ',
        "Interviewer: How did you come to work on {topic}?\nDr. {name}:",
        "{name}: Did you hear what happened in {place}?\n{other}:",
    ),
    "instructions": (
        "How to look after {thing}\n\n1.",
        "Question: What is {topic}?\nAnswer:",
        "Explain {topic} to a child of ten.\n\n",
        "Write a short letter from a {person} to {name}.\n\nDear {name},\n",
        "Here are five tips for people who want to learn about {topic}:\n\n1.",
        "Problem: {name} has {number} apples and gives {less} of them to {other}.",
    ),
    "code": (
        "def {function}({argument}):\n",
        "import numpy as np\n\n# {function} of an array\n",
        "class {Class}:\n    def __init__(self, {argument}):\n",
        "function {function}({argument}) {{\n",
        "#include <stdio.h>\n\nint {function}(int {argument}) {{\n",
        "SELECT {argument} FROM {function} WHERE",
        "# Exercise {less}: write a function that returns the {argument} of a list\n",
    ),
}
FILLS = {
    "name": "Mary, John, Anna, Tom, Elena, David, Sarah, Ali, Mei, Peter, Rosa, Jack, Nina, "
    "Omar, Lucy",
    "other": "James, Emma, Carlos, Julia, Henry, Fatima, George, Kate, Ivan, Clara, Sam, Ruth",
    "person": "teacher, farmer, king, sailor, girl, boy, doctor, thief, painter, soldier, baker",
    "place": "London, a small village, the old library, Japan, the forest, New York, the castle, "
    "Kenya, the harbour, Mexico, the school, a city by the sea",
    "thing": "the key, a garden, the old clock, a dog, the letter, a bicycle, the map, a violin, "
    "the red coat, a houseplant, the telescope, a boat",
    "topic": "photosynthesis, gravity, the Roman Empire, democracy, the heart, jazz, inflation, "
    "the French Revolution, volcanoes, DNA, chess, solar energy, bees, the internet, "
    "probability, the Moon, vaccines, poetry, steel",
    "field": "biology, physics, history, economics, music, medicine, geography, mathematics",
    "function": "total, average, count_words, is_prime, reverse, merge, find_path, scale, area",
    "Class": "Stack, Account, Graph, Player, Matrix, Reader, Timer, Shape, Queue",
    "argument": "values, text, n, items, names, x, data, width, score",
    "number": "12, 17, 22, 27, 32, 37, 42, 47, 52, 57",
    "less": "2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
}


@dataclass(frozen=True)
class Recipe:
    """How much is written: about `tokens` in all, `batch` texts at once of `length` new tokens."""

    tokens: int = 1_500_000
    batch: int = 64
    length: int = 256
    temperature: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """Batches and tokens there are so far, opening and BOS included, and the tokens wanted."""

    batches: int
    tokens: int
    wanted: int


def opening(draw: random.Random) -> tuple[str, str]:
    """A sort of text, and words that one of that sort could begin with."""
    sort = draw.choice(list(OPENINGS))
    fills = {name: draw.choice(values.split(", ")) for name, values in FILLS.items()}
    return sort, draw.choice(OPENINGS[sort]).format(**fills)


def sample(model: Model, folder: Path, recipe: Recipe) -> Iterator[Progress]:
    """Write texts into `folder`, a batch at a time, until there are enough.

    What lies there is kept and counted. Each text ends where the model ended it, or at `length`
    new tokens. Raises `InputError` for a folder of another recipe or model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    decides = {"model": model.identity.fingerprint, **asdict(recipe)}
    del decides["tokens"]  # how many batches, not what is in them
    _same(folder / "recipe.json", decides)
    tokens, number = 0, 0
    while tokens < recipe.tokens:
        path = _path(folder, number)
        if not path.exists():
            _write(path, _batch(model, recipe, number))
        tokens += sum(row["tokens"] for row in batch_of(path))
        number += 1
        yield Progress(number, tokens, recipe.tokens)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.jsonl"


def batch_of(path: Path) -> list[dict]:
    """The texts of one batch: `text`, `sort`, `tokens`. Raises `InputError` for a damaged one."""
    kinds = {"text": str, "sort": str, "tokens": int}
    rows = rows_of(path)
    for row in rows:
        if not all(isinstance(row.get(name), kind) for name, kind in kinds.items()):
            raise _damaged(path, f"a line holds no {', '.join(kinds)}")
    return rows


def rows_of(path: Path) -> list[dict]:
    """Objects, one a line. Raises `InputError` where that is not what is there."""
    with (
        misfit(lambda fault: _damaged(path, str(fault))),
        path.open(encoding="utf-8", newline="\n") as lines,  # a text may hold other line ends
    ):
        return [dict(json.loads(line)) for line in lines]


def _damaged(path: Path, fault: str) -> InputError:
    return InputError(f"{path} cannot be read ({fault}); delete it, and it is sampled again")


def gathered(folder: Path, batches: int, path: Path) -> int:
    """The first batches of `folder` in one compressed Parquet file (`text`, `sort`).

    Returns how many texts they hold.
    """
    import pyarrow.parquet  # heavy, and of use to few

    rows = _rows(folder, batches)
    table = pyarrow.table({name: [row[name] for row in rows] for name in ("text", "sort")})
    part = path.with_suffix(".part")
    pyarrow.parquet.write_table(table, part, compression="zstd", compression_level=19)
    part.replace(path)
    return len(rows)


def shipped(model: Model, folder: Path, done: Progress, recipe: Recipe, name: str, to: Path) -> int:
    """The batches that are `done` as a corpus that can come with the package: a file and a card.

    Its card says how to make the same again. Returns how many texts they hold.
    """
    rows = [{k: row[k] for k in ("text", "sort")} for row in _rows(folder, done.batches)]
    dtype = str(model.dtype).removeprefix("torch.")
    again = f"workbench corpus make {name} --model {model.name} --dtype {dtype}"
    about = {
        "description": f"text written by {model.name}: {', '.join(OPENINGS)}",
        "licence": "MIT, as lensbench",
        "model": model.name,
        "fingerprint": model.identity.fingerprint,
        "dtype": dtype,
        **asdict(recipe),
        "openings": "OPENINGS of workbench/sampling.py",
        "sorts": dict(Counter(row["sort"] for row in rows)),
        "tokens": done.tokens,
        "again": f"{again} --max-tokens {done.tokens} --ship FOLDER",
    }
    ship(name, rows, about, to)
    return len(rows)


def _rows(folder: Path, batches: int) -> list[dict]:
    return [row for number in range(batches) for row in batch_of(_path(folder, number))]


def _batch(model: Model, recipe: Recipe, number: int) -> list[dict]:
    draw = random.Random(f"{recipe.seed} {number}")
    begun = [opening(draw) for _ in range(recipe.batch)]
    rows = generate(
        model,
        [text for _, text in begun],
        max_new_tokens=recipe.length,
        temperature=recipe.temperature,
        seed=draw.randrange(2**32),
    )
    return [
        {"text": text + row.text, "sort": sort, "tokens": len(row.prompt) + len(row.ids)}
        for (sort, text), row in zip(begun, rows, strict=True)
    ]


def _same(path: Path, about: dict) -> None:
    if not path.exists():
        _write(path, [about])
    there = next(iter(rows_of(path)), {})
    different = {k: (there.get(k), v) for k, v in about.items() if there.get(k) != v}
    if different:
        told = ", ".join(f"{k} {was} (now {now})" for k, (was, now) in different.items())
        raise InputError(
            f"{path.parent} was begun otherwise: {told}; go on as it was begun, or delete it"
        )


def _write(path: Path, rows: list[dict]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_whole(path, "".join(lines).encode())
