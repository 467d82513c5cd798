"""Where inputs lie and what the readers are: every target, its seeds made once a process."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from tests.fuzz.target import Case, Target
from tests.fuzz.watch import Watch
from workbench.errors import InputError

FAMILIES = ("weights", "store", "saved", "dictionaries", "corpora", "boards", "text", "addresses")
SOUND, TOLD = "sound", "told"


class Ground:
    """`root/inside/case` is where inputs lie, the home too; all around it is watched."""

    def __init__(self, root: Path, families: tuple[str, ...] = FAMILIES) -> None:
        for name in ("inside/case", "outside", "made"):
            (root / name).mkdir(parents=True)
        self.case = Case(root / "inside" / "case", {})
        os.environ["WORKBENCH_HOME"] = str(self.case.folder)
        self.targets: dict[str, Target] = {}
        for family in families:
            made = root / "made" / family
            made.mkdir()
            find: Callable[[Case, Path], Iterator[Target]]
            find = import_module(f"tests.fuzz.{family}").targets
            self.targets |= {target.name: target for target in find(self.case, made)}
        self.watch = Watch(root, [self.case.folder])

    def warm(self, target: Target) -> None:
        """Read its seeds: they are sound, and what is imported late is imported now."""
        self.case.clear()
        for seed in target.seeds:
            with suppress(*(() if target.open else (InputError,))):
                target.read(seed)

    def outcome(self, target: Target, given: object) -> str:
        """`SOUND`, `TOLD`, or what went wrong."""
        try:
            with self.watch.watching(target.growth):
                target.read(given)
        except InputError as error:
            return TOLD if str(error).strip() else "an error without a word"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a crash is what is looked for
            return f"{type(error).__name__}: {str(error)[:300]}"
        return SOUND

    def tried(self, target: Target, seed: int, number: int) -> str:
        return self.outcome(target, target.drawn(seed, number))
