"""`python -m notebooks`: execute the course, with a table of time, memory and result."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from notebooks.committed import notebooks
from notebooks.execution import execute


def main() -> int:
    """0 if every notebook ran to its end."""
    parser = argparse.ArgumentParser(prog="python -m notebooks", description=__doc__)
    parser.add_argument("numbers", nargs="*", metavar="NN", help="which (default: all)")
    parser.add_argument("--write", action="store_true", help="keep the outputs in the files")
    parser.add_argument("--course", metavar="FOLDER", type=Path, help="build the reading version")
    asked = parser.parse_args()
    chosen = [one for one in notebooks() if not asked.numbers or one.name[:2] in asked.numbers]
    if not chosen:
        known = ", ".join(one.name[:2] for one in notebooks())
        parser.error(f"there is no notebook {', '.join(asked.numbers)}; known: {known}")
    console = Console()
    if asked.course:
        from notebooks.course import build  # nbconvert

        for page in build(chosen, asked.course):
            console.print(str(page))
        return 0
    return _execute(chosen, console, write=asked.write)


def _execute(chosen: list[Path], console: Console, *, write: bool) -> int:
    table = Table("notebook", "time", "peak memory", "result")
    errors, seconds = [], 0.0
    for path in chosen:
        with console.status(f"executing {path.stem}"):
            found = execute(path)
            if found.error is None and write:
                from notebooks.writing import write as keep  # Chromium

                keep(path, found.notebook)
        errors += [f"{path.name}\n{found.error}"] if found.error else []
        result = "[red]error[/]" if found.error else "[green]ok[/]"
        table.add_row(path.stem, f"{found.seconds:.0f} s", f"{found.peak:,.0f} MiB", result)
        seconds += found.seconds
    table.add_section()
    table.add_row("together", f"{seconds:.0f} s")
    console.print(table)
    for error in errors:
        sys.stderr.write(f"{error}\n")
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
