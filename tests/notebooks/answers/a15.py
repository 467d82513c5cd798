"""Answers to the exercises of notebook 15."""

import numpy as np
import torch

from tests.notebooks.answers import Answers


def clock(a, b, p, keys, sign=1.0, c_sign=1.0, turn=2 * np.pi):
    total, c = np.zeros((len(a), p)), np.arange(p)
    for k in keys:
        w = turn * k / p
        cos = np.cos(w * a) * np.cos(w * b) - sign * np.sin(w * a) * np.sin(w * b)
        sin = np.sin(w * a) * np.cos(w * b) + np.cos(w * a) * np.sin(w * b)
        total += np.outer(cos, np.cos(w * c)) + c_sign * np.outer(sin, np.sin(w * c))
    return total


def clock_at_once(a, b, p, keys):
    turned = (a + b)[:, None] - np.arange(p)
    return np.cos(2 * np.pi * np.array(keys) * turned[..., None] / p).sum(-1)


def clock_of_a_difference(a, b, p, keys):
    return clock(a, -b, p, keys)


def fourier(p, scale=True):
    t, rows = np.arange(p), [np.ones(p)]
    for k in range(1, p // 2 + 1):
        rows += [np.cos(2 * np.pi * k * t / p), np.sin(2 * np.pi * k * t / p)]
    basis = np.stack(rows)
    return basis / np.linalg.norm(basis, axis=1, keepdims=True) if scale else basis


def fourier_of_one_factor(p):
    return fourier(p, scale=False) * np.sqrt(2 / p)


def fourier_short(p):
    return fourier(p)[: 2 * (p // 2) - 1]


def fourier_without_pi(p):
    t, rows = np.arange(p), [np.ones(p)]
    for k in range(1, p // 2 + 1):
        rows += [np.cos(k * t / p), np.sin(k * t / p)]
    return np.stack(rows) / np.linalg.norm(np.stack(rows), axis=1, keepdims=True)


def fourier_by_kind(p):
    basis = fourier(p)
    return np.concatenate((basis[:1], basis[1::2], basis[2::2]))


def kept(found, keys, sign=1, waves=(0, 1), off=0, unit=True):
    p = len(found)
    total = torch.arange(p, dtype=found.dtype)
    total = total[:, None] + sign * total
    result = torch.zeros_like(found)
    for k in keys:
        angle = 2 * torch.pi * (k + off) * total / p
        for number, wave in enumerate((angle.cos(), angle.sin())):
            if number in waves:
                wave = wave / wave.norm() if unit else wave
                result += wave[..., None] * torch.einsum("ab,abc->c", wave, found)
    return result


def kept_by_the_mean(found, keys):
    """Over pairs with the same a + b first, as the product does it."""
    p = len(found)
    residue = torch.arange(p)
    where = (residue[:, None] + residue) % p
    summed = torch.stack([found[where == total].mean(0) for total in range(p)])
    basis = torch.tensor(fourier(p))
    rows = basis[[2 * k - 1 + sine for k in keys for sine in (0, 1)]]
    return (rows.T @ (rows @ summed))[where]


ANSWERS = {
    "15.clock": Answers(
        right=((clock,), (clock_at_once,)),
        wrong=(
            ((clock_of_a_difference,), r"it peaks at a - b"),
            ((lambda *given: clock(*given, c_sign=-1.0),), r"-\(a \+ b\)"),
            ((lambda *given: clock(*given, sign=-1.0),), "wrong sign between its products"),
            ((lambda *given: clock(*given) / len(given[3]),), "mean over the frequencies"),
            ((lambda *given: clock(*given, turn=1.0),), "whole turn"),
            ((lambda a, b, p, keys: clock(a, b, p, keys[:1]),), "only the first frequency"),
            ((lambda a, b, p, keys: clock(a, b, p, keys[-1:]),), "only the last frequency"),
            ((lambda *given: clock(*given).T,), "by row"),
            ((lambda *given: 1.0,), "shape"),
        ),
    ),
    "15.fourier": Answers(
        right=((fourier,),),
        wrong=(
            ((lambda p: fourier(p, scale=False),), "not the length 1: divide"),
            ((fourier_of_one_factor,), "the constant row"),
            ((fourier_short,), "there are 5 rows"),
            ((fourier_without_pi,), "come back to where it began"),
            ((lambda p: fourier(p).T,), "the other way round"),
            ((fourier_by_kind,), "in the order"),
            ((np.eye,), "in the order"),
        ),
    ),
    "15.kept": Answers(
        right=((kept,), (kept_by_the_mean,)),
        wrong=(
            ((lambda found, keys: kept(found, keys, sign=-1),), "waves of a - b"),
            ((lambda found, keys: kept(found, keys, waves=(0,)),), "sines are missing"),
            ((lambda found, keys: kept(found, keys, waves=(1,)),), "cosines are missing"),
            ((lambda found, keys: kept(found, keys, off=1),), "one too high"),
            ((lambda found, keys: kept(found, keys, unit=False),), "up to a factor"),
            ((lambda found, keys: found - kept(found, keys),), "without the keys"),
            ((lambda found, keys: found.mean((0, 1)) + kept(found, keys),), "other values"),
            ((lambda found, keys: kept(found, keys).sum(-1),), "shape"),
            ((lambda found, keys: torch.zeros_like(found),), "0 everywhere"),
        ),
    ),
}
