"""Answers to the exercises of notebook 14."""

import numpy as np

from tests.notebooks.answers import Answers

EIGHT = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]


def lines(mine, theirs, row, column, steps=EIGHT, ends=True):
    found = np.zeros_like(mine)
    for down, right in steps:
        line, r, c = [], row + down, column + right
        while 0 <= r < 6 and 0 <= c < 6 and theirs[r, c]:
            line.append((r, c))
            r, c = r + down, c + right
        if not ends or (0 <= r < 6 and 0 <= c < 6 and mine[r, c]):
            for place in line:
                found[place] = True
    return found


def straight(mine, theirs, row, column):
    return lines(mine, theirs, row, column, [(0, 1), (0, -1), (1, 0), (-1, 0)])


def without_an_end(mine, theirs, row, column):
    return lines(mine, theirs, row, column, ends=False)


def swapped(mine, theirs, row, column):
    return lines(theirs, mine, row, column)


def next_to_it(mine, theirs, row, column):
    found = lines(mine, theirs, row, column)
    near = np.zeros_like(found)
    near[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
    return found & near


def lines_of_marked(mine, theirs, row, column):
    mine[row, column] = True
    return lines(mine, theirs, row, column)


def as_seen(held, black):
    return np.where(black[:, None] | (held == 2), held, 1 - held)


def as_seen_turned(held, black):
    return as_seen(held, ~black)


def as_seen_without_empty(held, black):
    return np.where(black[:, None], held, 1 - held)


def push(x, direction, alpha):
    return x + alpha * x.norm(dim=-1, keepdim=True) * direction / direction.norm()


ANSWERS = {
    "14.turned": Answers(
        right=((lines,),),
        wrong=(
            ((straight,), "eight directions"),
            ((without_an_end,), "does each line end"),
            ((swapped,), "a disc of mine"),
            ((next_to_it,), "all that is enclosed"),
            ((lines_of_marked,), "changes the boards"),
        ),
    ),
    "14.as_seen": Answers(
        right=((as_seen,),),
        wrong=(
            ((as_seen_turned,), "changed places"),
            ((as_seen_without_empty,), "empty is 2"),
            ((lambda held, black: held,), "black and white still"),
        ),
    ),
    "14.push": Answers(
        right=((push,), (lambda x, d, a: push(x.double(), d.double(), a),)),
        wrong=(
            ((lambda x, d, a: x + a * x.norm(dim=-1, keepdim=True) * d,), "direction's length"),
            ((lambda x, d, a: x + a * d / d.norm(),), "has the length alpha"),
            ((lambda x, d, a: x + a * x.norm() * d / d.norm(),), "each row has its own"),
            ((lambda x, d, a: push(x, d, a) - x,), "x itself is gone"),
        ),
    ),
}
