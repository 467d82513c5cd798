"""`--config FILE`: a JSON object of a command's arguments, beneath what was typed."""

from __future__ import annotations

import difflib
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from workbench.errors import InputError

Configure = Callable[[ArgumentParser], None]


@dataclass(frozen=True)
class Unasked:
    """A default, on which a config file has a say that it has not on what was typed."""

    value: Any

    def __str__(self) -> str:
        return str(self.value)


class _Refusing(ArgumentParser):
    """A parser whose complaints are sentences about a file."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}")


def put_beneath(parser: ArgumentParser, action: str) -> None:
    """Mark all defaults as such; `action` is one that the parser takes."""
    plain = vars(parser.parse_args([action]))
    del plain["action"]
    parser.set_defaults(**{name: Unasked(value) for name, value in plain.items()})


def typed(arguments: Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was typed, and the defaults of the rest."""
    every = vars(arguments)
    given = {name: value for name, value in every.items() if not isinstance(value, Unasked)}
    beneath = {name: value.value for name, value in every.items() if isinstance(value, Unasked)}
    return given, beneath


def read(configure: Configure, action: str, path: Path | None) -> dict[str, Any]:
    """The arguments in a config file, if one is given. Raises `InputError` for what is none."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path} is no JSON file of arguments ({why})") from error
    if not isinstance(found, dict):
        raise InputError(f'{path} should hold a JSON object, such as {{"seed": 1}}')
    return parsed(configure, action, found, str(path))


def parsed(
    configure: Configure, action: str, config: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """A config's values as the command line would have read them."""
    parser = _Refusing(prog=where, add_help=False)
    configure(parser)
    names = [name for name in vars(parser.parse_args([action])) if name not in ("action", "config")]
    words, file = [action], []
    for key, value in config.items():
        name = {"class": "class_"}.get(key, key.replace("-", "_"))
        if name not in names:
            raise InputError(
                f"{where}: there is no argument {key!r}; {near(name, names)}see --help"
            )
        if name == "file":
            file = [str(value)]
        elif value is not None and value is not False:
            words.append(_word(key, value, where))
    found = vars(parser.parse_args([*words, *file]))
    del found["action"]
    return {name: value for name, value in found.items() if not isinstance(value, Unasked)}


def near(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, if one is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def _word(key: str, value: Any, where: str) -> str:
    option = f"--{key.rstrip('_').replace('_', '-')}"
    if value is True:
        return option
    values: Sequence[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in values):
        raise InputError(f"{where}: {key} should be text, a number, true or a list of these")
    return f"{option}={','.join(map(str, values))}"
