"""Every exercise takes right answers, and tells what is wrong with three typical wrong ones."""

import re
from importlib import import_module

import numpy as np
import pytest
import torch

from notebooks.check import EXERCISES, OPEN, RIGHT, WRONG, Hint, check, exercise, like, tried
from notebooks.committed import notebooks, read
from tests.notebooks.answers import Answers
from workbench.errors import InputError

NUMBERS = [path.name[:2] for path in notebooks()]


def answers(number: str) -> dict[str, Answers]:
    return import_module(f"tests.notebooks.answers.a{number}").ANSWERS


def every() -> list[tuple[str, Answers]]:
    return [pair for number in NUMBERS for pair in answers(number).items()]


@pytest.mark.parametrize(("name", "given"), every())
def test_right_answers_are_taken(name: str, given: Answers, capsys) -> None:
    assert given.right
    for answer in given.right:
        check(name, *answer)
        assert capsys.readouterr().out.startswith(f"{RIGHT} {name}")


@pytest.mark.parametrize(("name", "given"), every())
def test_wrong_answers_get_a_hint(name: str, given: Answers, capsys) -> None:
    assert len(given.wrong) >= 3
    for answer, hint in given.wrong:
        check(name, *answer)
        told = capsys.readouterr().out
        assert told.startswith(f"{WRONG} {name}")
        assert re.search(hint, told), told


NONSENSE = ("1", "", [], [None], {}, 3j, object(), torch.zeros(0), torch.full((2, 3), torch.nan))


@pytest.mark.parametrize(("name", "given"), every())
def test_no_answer_breaks_a_checker(name: str, given: Answers, capsys) -> None:
    """It says what is wrong with any nonsense, and nothing of its own fails."""
    for nonsense in NONSENSE:
        answer = (returns(nonsense) if callable(one) else nonsense for one in given.right[0])
        check(name, *answer)
        assert capsys.readouterr().out.startswith(f"{WRONG} {name}"), nonsense


def returns(made: object) -> object:
    return lambda *given, **named: made


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_every_notebook_asks_and_answers(path) -> None:
    """Each exercise stands open in one cell, and solved and checked in a folded one."""
    number, known = path.name[:2], answers(path.name[:2])
    assert len(known) >= 2
    cells = [one for one in read(path).cells if one.cell_type == "code"]
    for name in known:
        asking = [one for one in cells if f'check("{name}"' in one.source]
        folded = [one for one in asking if one.metadata.get("jupyter", {}).get("source_hidden")]
        still_open = [one for one in asking if one not in folded]
        assert len(folded) == 1 == len(still_open), name
        assert "solution" in folded[0].metadata.tags
        (said,) = ("".join(o.get("text", "") for o in one.outputs) for one in folded)
        (asked,) = ("".join(o.get("text", "") for o in one.outputs) for one in still_open)
        assert f"{RIGHT} {name}" in said and asked.startswith(f"{OPEN} {name}")
    assert {one for one in EXERCISES if one.startswith(f"{number}.")} == set(known)


@exercise("98.number")
def _number(answer) -> None:
    like(answer, 3.0, "your number")


@exercise("98.call")
def _call(answer) -> None:
    like(tried(answer), 3.0, "your number")


def _dots(): ...


def _documented():
    """Three."""


def _begun():
    return ...


def test_the_dots_are_no_answer(capsys, monkeypatch) -> None:
    monkeypatch.setattr("notebooks.check.import_module", lambda name: None)
    check("98.number", ...)
    assert capsys.readouterr().out.startswith(f"{OPEN} 98.number: nothing here yet")
    for untouched in (_dots, _documented, _begun):
        check("98.call", untouched)
        assert capsys.readouterr().out.startswith(f"{OPEN} 98.call: nothing here yet")
    check("98.call", lambda: 3)
    assert capsys.readouterr().out == f"{RIGHT} 98.call: right\n"
    check("98.call", [].clear)
    assert "returns nothing" in capsys.readouterr().out
    check("98.number", 3)
    assert capsys.readouterr().out == f"{RIGHT} 98.number: right\n"
    check("98.number", 4)
    assert "other values" in capsys.readouterr().out


def test_no_such_exercise() -> None:
    with pytest.raises(InputError, match=r"there is no exercise '97\.none'; known here: none"):
        check("97.none", 1)


def test_like_says_what_differs_and_not_what_is_right() -> None:
    wanted = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    like(wanted + 1e-6, wanted, "it")
    with pytest.raises(Hint, match=r"it has the shape \(2,\); it should have \(2, 2\)"):
        like(wanted[0], wanted, "it")
    with pytest.raises(Hint, match=r"other values first at \[1, 0\] \(25% of it\)") as raised:
        like(wanted + torch.tensor([[0, 0], [1, 0]]), wanted, "it")
    assert "3" not in str(raised.value)
    with pytest.raises(Hint, match="type list; a torch tensor is asked for"):
        like([[1, 2], [3, 4]], wanted, "it")
    with pytest.raises(Hint, match="type Tensor; a NumPy array is asked for"):
        like(wanted, wanted.numpy(), "it")
    with pytest.raises(Hint, match="it is str; a number or an array is asked for"):
        like("three", np.float64(3.0), "it")
    like([torch.tensor(3.0), 4], [3.0, 4.0], "it")
    for other in ("3.0", None, 3j, [[1], [1, 2]]):
        with pytest.raises(Hint, match=f"it is {type(other).__name__}; a number"):
            like(other, 3.0, "it")


def test_a_function_that_fails_is_a_hint() -> None:
    assert tried(lambda x: x + 1, 2) == 3
    with pytest.raises(Hint, match=r"raises ZeroDivisionError for \(0\): division by zero"):
        tried(lambda x: 1 / x, 0)
    with pytest.raises(Hint, match=r"returns nothing for \(a matrix\)"):
        tried(lambda x: None, 0, told="a matrix")
