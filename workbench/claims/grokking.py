"""Grokking: five seeds of each size, from what is shipped or trained again, and controls."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from workbench.labs.grokking import (
    Grokking,
    GrokkingTraining,
    Log,
    Weights,
    algorithm,
    efficiency,
    frequency_shares,
    key_frequencies,
    ladder,
    logits,
    logs,
    measure,
    read_weights,
    shipped,
    ungrok,
)
from workbench.labs.grokking.record import record
from workbench.registry import Outcome

_NANDA = "Nanda et al. 2023"
_POWER = "Power et al. 2022; Nanda et al. 2023"
_VARMA = "Varma et al. 2023"
_ZHONG = "Zhong et al. 2023"
_LOSS = 0.1  # nats: learnt
_SEEDS = range(5)
HALF, SMALL, THIRD = "p113-50", "p59-50", "p113-30"
PIZZA, RANDOM, FREE = "p59-pizza-0", "p59-random-0", "p59-wd0-0"
UNGROK, UNGROK_EPOCHS = (0.05, 0.1, 0.2), 3000
_P59 = Grokking(p=59, steps=4000, every=200)
RECIPES = {
    **{f"{HALF}-{seed}": Grokking(seed=seed) for seed in _SEEDS},
    **{f"{SMALL}-{seed}": replace(_P59, seed=seed) for seed in _SEEDS},
    **{
        f"{THIRD}-{seed}": Grokking(fraction=0.3, steps=20_000, seed=seed, every=500)
        for seed in _SEEDS
    },
    # as Zhong et al. train: with half of the pairs and decay 1, distance matters too little to tell
    PIZZA: replace(_P59, attention=0.0, fraction=0.8, weight_decay=2.0, steps=3000),
    RANDOM: replace(_P59, labels="random", steps=3000),
    FREE: replace(_P59, weight_decay=0.0),
}


def half_of_113(full: bool = False) -> Outcome:
    """Modulo 113, half of the pairs."""
    return _epochs(full, HALF, 400, 3000)


def half_of_59(full: bool = False) -> Outcome:
    """Modulo 59, half of the pairs."""
    return _epochs(full, SMALL, 400, 4000)


def third_of_113(full: bool = False) -> Outcome:
    """Modulo 113, three pairs in ten."""
    return _epochs(full, THIRD, 4000, 20_000)


def _epochs(full: bool, size: str, low: int, high: int) -> Outcome:
    """When train and test loss pass .1."""
    found = _five(full, size)
    train = [one.first("train loss", _LOSS) for one in found]
    test = [one.first("test loss", _LOSS) for one in found]
    return Outcome(
        _POWER,
        f"train loss below {_LOSS} by 400, test loss at {low:,}-{high:,}",
        f"train at {_told(train)}; test at {_told(test)}",
        len(found) == len(_SEEDS)
        and all(epoch is not None and epoch <= 400 for epoch in train)
        and all(epoch is not None and low <= epoch <= high for epoch in test),
    )


def circuit_of_113(full: bool = False) -> Outcome:
    """Modulo 113, both shares of the pairs."""
    return _circuit([*_five(full, HALF), *_five(full, THIRD)], 10)


def circuit_of_59(full: bool = False) -> Outcome:
    """Modulo 59, half of the pairs."""
    return _circuit(_five(full, SMALL), 5)


def _circuit(found: Sequence[Log], wanted: int) -> Outcome:
    """A few waves hold the logits: they are all that it needs, and it needs them."""
    many = [len(one.keys) for one in found]
    last = {
        name: [one.measures[name][-1] for one in found]
        for name in ("fve", "restricted", "full_loss", "excluded", "gini")
    }
    pairs = zip(last["restricted"], last["full_loss"], strict=True)
    below = sum(restricted <= whole for restricted, whole in pairs)
    return Outcome(
        _NANDA,
        "at most 8 key frequencies, > 80 % of the logits' variance; restricted <= full loss, "
        "excluded > 1, embedding Gini > .45",
        f"{min(many)}-{max(many)}, {min(last['fve']):.0%}-{max(last['fve']):.0%}; restricted <= "
        f"full in {below} of {len(found)}, excluded {_range(last['excluded'])}, Gini "
        f"{_range(last['gini'])}",
        len(found) == wanted == below
        and all(0 < number <= 8 for number in many)
        and min(last["fve"]) > 0.8
        and min(last["excluded"]) > 1
        and min(last["gini"]) > 0.45,
    )


def circuit_before_the_test_loss(full: bool = False) -> Outcome:
    """Excluded loss rises while the test loss is still high: the circuit is there already."""
    told = []
    for size in (HALF, SMALL, THIRD):
        for one in _five(full, size):
            rises = zip(
                one.rungs, one.measures["excluded"], one.measures["train_loss"], strict=True
            )
            risen = next((epoch for epoch, out, own in rises if out > own + 1), None)
            told.append((risen, one.first("test loss", _LOSS)))
    ahead = [(rise, fall) for rise, fall in told if rise is not None and fall is not None]
    holds = len(ahead) == len(told) == 15 and all(rise < fall for rise, fall in ahead)
    shares = [rise / fall for rise, fall in ahead]
    return Outcome(
        _NANDA,
        "excluded loss 1 nat above train loss before test loss is below .1",
        f"in {sum(rise < fall for rise, fall in ahead)} of {len(told)}, after {_range(shares)} of "
        "the epochs that the test loss takes",
        holds,
    )


def nothing_before(full: bool = False) -> Outcome:
    """Random weights are at chance, without key frequencies; nor are there any early on."""
    untrained = Grokking().begin("cpu")
    early = {epoch: read_weights(folder) for epoch, folder in ladder().items() if epoch <= 100}
    keys = {epoch: key_frequencies(frequency_shares(logits(w))) for epoch, w in early.items()}
    found = measure(untrained.weights(), untrained.train, ())
    return Outcome(
        "negative control",
        "random weights: loss ln 114 = 4.74, accuracy below 2 %; no key frequencies by epoch 100",
        f"loss {found.test_loss:.2f}, accuracy {found.test_accuracy:.1%}; key frequencies at "
        + ", ".join(f"{epoch}: {len(one)}" for epoch, one in keys.items()),
        abs(found.test_loss - math.log(114)) < 0.1
        and found.test_accuracy < 0.02
        and len(keys) > 1
        and not any(keys.values()),
    )


def without_weight_decay(full: bool = False) -> Outcome:
    """What nothing pulls at stays with what it knows by heart."""
    with_decay = _log(full, f"{SMALL}-0").first("test loss", _LOSS)
    free = _log(full, FREE)
    without, last = free.first("test loss", _LOSS), free.epochs[-1]
    return Outcome(
        _NANDA,
        "without weight decay later, or not",
        f"p 59: at epoch {_told([with_decay])}; without: {_told([without])} of {last:,}, test loss "
        f"{free.curves['test loss'][-1]:.2f}",
        with_decay is not None and (without is None or without > with_decay),
    )


def efficiency_of_circuits(full: bool = False) -> Outcome:
    """Adding makes larger logits of the same weights than knowing by heart."""
    recipe = RECIPES[RANDOM]
    pairs = recipe.begin("cpu").train
    by_heart = efficiency(_weights(full, RANDOM), pairs, recipe.wanted()[pairs])
    adding = []
    for seed in _SEEDS:
        own = RECIPES[f"{SMALL}-{seed}"].begin("cpu")
        weights = _weights(full, f"{SMALL}-{seed}")
        adding.append(efficiency(weights, own.train, own.wanted[own.train]))
    return Outcome(
        _VARMA,
        "logit scale per parameter norm: generalising above memorising (random labels)",
        f"{_range([one.per_norm for one in adding])} at norm {_range([o.norm for o in adding])}, "
        f"against {by_heart.per_norm:.2f} at norm {by_heart.norm:.1f}",
        min(one.per_norm for one in adding) > by_heart.per_norm,
    )


def ungrokking(full: bool = False) -> Outcome:
    """Trained on with too few pairs, a grokked network forgets how to add."""
    found = {part: _forgetting(full, part) for part in UNGROK}
    least = {part: log.curves["test accuracy"][-1] for part, log in found.items()}
    return Outcome(
        _VARMA,
        "test accuracy falls below a critical size of the data, not above",
        f"p 59, {UNGROK_EPOCHS:,} epochs more: "
        + ", ".join(f"{100 * part:g} % of pairs {value:.1%}" for part, value in least.items()),
        least[min(UNGROK)] < 0.5 and least[max(UNGROK)] > 0.95,
    )


def clock_and_pizza(full: bool = False) -> Outcome:
    """Attention makes a clock; constant attention can only make a pizza."""
    clocks = [algorithm(_weights(full, f"{HALF}-{seed}")) for seed in _SEEDS]
    pizza = algorithm(_weights(full, PIZZA))
    symmetric = [one.symmetricity for one in clocks]
    irrelevant = [one.irrelevance for one in clocks]
    return Outcome(
        _ZHONG,
        "clock: symmetricity .33, irrelevance .85; pizza: .99, .17",
        f"attention: {_range(symmetric)}, {_range(irrelevant)}; constant: "
        f"{pizza.symmetricity:.2f}, {pizza.irrelevance:.2f}",
        all(one.name == "clock" for one in clocks) and pizza.name == "pizza",
    )


@cache
def _trained(name: str) -> tuple[Log, Weights]:
    training = RECIPES[name].begin("cpu")
    assert isinstance(training, GrokkingTraining)
    return record(training)


@cache
def forgetting(part: float) -> Log:
    """A grokked network trained on with a share of the pairs."""
    name = f"{SMALL}-1"
    return record(ungrok(shipped(name), RECIPES[name], part, UNGROK_EPOCHS, device="cpu"), 100)[0]


def _forgetting(full: bool, part: float) -> Log:
    return forgetting(part) if full else logs()[f"p59-ungrok-{100 * part:.0f}"]


def _log(full: bool, name: str) -> Log:
    return _trained(name)[0] if full else logs()[name]


def _weights(full: bool, name: str) -> Weights:
    return _trained(name)[1] if full else shipped(name)


def _five(full: bool, size: str) -> list[Log]:
    """The logs of a size; of what is shipped, those there are."""
    names = [f"{size}-{seed}" for seed in _SEEDS]
    return [_log(full, name) for name in names if full or name in logs()]


def _told(epochs: Sequence[int | None]) -> str:
    return ", ".join("never" if epoch is None else f"{epoch:,}" for epoch in epochs)


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f}-{max(values):.2f}" if values else "none"
