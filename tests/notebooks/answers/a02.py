"""Answers to the exercises of notebook 02."""

import numpy as np
import torch

from tests.notebooks.answers import Answers


def solutions(A, b):
    rank = torch.linalg.matrix_rank(A)
    if torch.linalg.matrix_rank(torch.cat([A, b[:, None]], dim=1)) > rank:
        return "none"
    return "one" if rank == A.shape[1] else "many"


def solutions_by_least_squares(A, b):
    x = torch.linalg.pinv(A) @ b
    if not torch.allclose(A @ x, b):
        return "none"
    return "one" if torch.linalg.matrix_rank(A) == A.shape[1] else "many"


def solutions_by_determinant(A, b):
    return "one" if A.shape[0] == A.shape[1] and torch.linalg.det(A).abs() > 1e-12 else "none"


def solutions_by_a_threshold(A, b):
    if A.shape[0] == A.shape[1] and torch.linalg.det(A).abs() < 1e-12:
        return "many" if solutions(A, b) == "one" else solutions(A, b)
    return solutions(A, b)


def solutions_of_a_square(A, b):
    return "one" if torch.linalg.det(A).abs() > 1e-20 else solutions(A, b)


def solutions_by_counting(A, b):
    rows, columns = A.shape
    if rows > columns:
        return "none"
    return "many" if rows < columns else solutions(A, b)


def solutions_without_b(A, b):
    return "one" if torch.linalg.matrix_rank(A) == A.shape[1] else "many"


def solutions_by_rows(A, b):
    told = solutions(A, b)
    return told if told == "none" or torch.linalg.matrix_rank(A) < A.shape[0] else "one"


def remove(x, directions):
    basis = torch.linalg.qr(directions).Q
    return x - x @ basis @ basis.T


def remove_by_equations(x, directions):
    gram = directions.T @ directions
    return x - torch.linalg.solve(gram, directions.T @ x.T).T @ directions.T


def remove_by_pinv(x, directions):
    return x - x @ directions @ torch.linalg.pinv(directions)


def remove_one_by_one(x, directions):
    for direction in directions.T:
        x = x - torch.outer(x @ direction, direction) / direction.dot(direction)
    return x


def remove_each(x, directions):
    unit = directions / directions.norm(dim=0)
    return x - x @ unit @ unit.T


def singular_values(A, B):
    return torch.linalg.svdvals(torch.linalg.qr(A).R @ torch.linalg.qr(B.T).R.T)


def singular_values_by_gram(A, B):
    return torch.linalg.eigvals(A.T @ A @ (B @ B.T)).real.sort(descending=True).values.sqrt()


ANSWERS = {
    "02.solutions": Answers(
        right=[(solutions,), (solutions_by_least_squares,)],
        wrong=[
            ((solutions_by_determinant,), r"does b obey the same dependence"),
            ((solutions_of_a_square,), r"raises"),
            ((solutions_by_a_threshold,), r"its determinant is tiny"),
            ((solutions_by_counting,), r"they contradict"),
            ((solutions_without_b,), r"does b obey the same dependence"),
            ((solutions_by_rows,), r"fewer equations than unknowns"),
            ((lambda A, b: "one",), r"the rows are dependent"),
            ((lambda A, b: 1,), r"'one', 'none' or 'many' is asked for"),
        ],
    ),
    "02.remove": Answers(
        right=[(remove,), (remove_by_equations,), (remove_by_pinv,)],
        wrong=[
            ((lambda x, D: x - remove(x, D),), r"that is the part in the directions"),
            ((lambda x, D: x - x @ D @ D.T,), r"not of length 1"),
            ((remove_one_by_one,), r"not at right angles to each"),
            ((remove_each,), r"not at right angles to each"),
            ((lambda x, D: remove(x, D[:, :1]),), r"part of the directions is left"),
            ((lambda x, D: 2 * x - remove(x, D),), r"added, not taken away"),
            ((lambda x, D: torch.zeros_like(x),), r"more is gone than had to go"),
            ((lambda x, D: remove(x, D).T,), r"it should have"),
        ],
    ),
    "02.singular_values": Answers(
        right=[(singular_values,), (singular_values_by_gram,)],
        wrong=[
            ((lambda A, B: torch.linalg.svdvals(A @ B),), r"at most 2 that are not 0"),
            ((lambda A, B: torch.linalg.svdvals(A @ B)[: len(B)],), r"A and B are multiplied out"),
            (
                (lambda A, B: torch.linalg.svdvals(A) * torch.linalg.svdvals(B),),
                r"not products of singular values",
            ),
            ((lambda A, B: torch.linalg.svdvals(B @ A),), r"B @ A|share eigenvalues"),
            ((lambda A, B: torch.linalg.eigvals(B @ A),), r"singular values never are"),
            ((lambda A, B: singular_values(A, B) ** 2,), r"these are the squares"),
            ((lambda A, B: singular_values(A, B).flip(0),), r"the largest comes first"),
            ((lambda A, B: np.ones(len(B)),), r"a torch tensor is asked for"),
        ],
    ),
}
