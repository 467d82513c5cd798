"""A folder that makes a run again: its record, a script, what it read, what was installed."""

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path

from workbench.errors import InputError
from workbench.fetching import appearing
from workbench.runs import Record, script_of

LARGEST = 2**24  # bytes of an input that is copied
_COMMAND = '''"""Makes the run again: {told}"""

import sys
from pathlib import Path

from workbench.__main__ import main

here = Path(__file__).parent
inputs = {inputs!r}
command = [str(here / word) if word in inputs else word for word in {command!r}]
sys.exit(main(command))
'''


def export(path: Path, record: Record, folder: Path) -> list[str]:
    """Write a new folder: `reproduce.py`, `record.json`, `inputs/`, `environment.txt`.

    Returns the names of its files. Raises `InputError` for a folder that is there already, and
    for a run that left neither a command nor a script.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already; give another folder")
    script, copied = script_of(path), {}
    command = list(record.opened.get("command", ()))
    if command:
        copied = _inputs(command, {Path(file).resolve() for file in record.files})
        script = _script(command, copied)
    if script is None:
        raise InputError(
            f"{path.stem} left no script: it was kept before there were any, or its page was left "
            "too early; open it again, and export the new run"
        )
    with appearing(folder) as beside:
        (beside / "inputs").mkdir(parents=True)
        for name, source in copied.items():
            shutil.copyfile(source, beside / "inputs" / name)
        tokens = json.dumps([list(row) for row in record.tokens])
        (beside / "inputs" / "tokens.json").write_text(tokens + "\n", encoding="utf-8")
        (beside / "reproduce.py").write_text(script, encoding="utf-8")
        told = json.dumps(asdict(record), indent=1, default=str)
        (beside / "record.json").write_text(told + "\n", encoding="utf-8")
        (beside / "environment.txt").write_text(_environment(), encoding="utf-8")
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def packed(path: Path, record: Record) -> bytes:
    """The same folder as one zip file. Raises as `export`."""
    found = io.BytesIO()
    archive = zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED)
    with tempfile.TemporaryDirectory() as beside, archive:
        folder = Path(beside) / path.stem
        for file in export(path, record, folder):
            archive.write(folder / file, f"{path.stem}/{file}")
    return found.getvalue()


def _inputs(command: Sequence[str], outputs: set[Path]) -> dict[str, Path]:
    """Files that the command read, by the name of their copy."""
    found: dict[str, Path] = {}
    for word in command:
        path = Path(word)
        there = len(word) < 4096 and path.is_file()
        if there and path.resolve() not in outputs and path.stat().st_size <= LARGEST:
            name = path.name if path.name not in found else f"{len(found)}-{path.name}"
            found[name] = path
    return found


def _script(command: Sequence[str], copied: dict[str, Path]) -> str:
    places = {str(source): f"inputs/{name}" for name, source in copied.items()}
    words = [places.get(word, word) for word in command]
    told = " ".join(["workbench", *words]).replace("\\", "/").replace('"', "'")
    return _COMMAND.format(told=told, inputs=sorted(places.values()), command=words)


def _environment() -> str:
    names = {one.metadata["Name"]: one.version for one in distributions()}
    return "".join(f"{name}=={names[name]}\n" for name in sorted(names, key=str.lower))
