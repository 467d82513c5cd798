"""Logistic regression of many questions at once: L-BFGS along the activations' principal axes.

Along them a question's Hessian is nearly diagonal, and a guess at it (variance times the class'
share of labels times its rest) starts L-BFGS (Nocedal 1980), which then needs some dozen passes
over the rows where it would need hundreds. Each question has its own history and its own steps;
questions share the matrix products.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from probes.fits.probe import LinearProbe
from probes.fits.samples import Samples, chunks

_GRID = (1e-2, 1e-3, 1e-4, 1e-5)  # penalty per row, on activations of unit mean variance
_CHUNK = 1024  # rows: scores and residuals of one chunk stay in the processor's cache
_HISTORY = 8
_MOST = 100
_HALVINGS = 30  # of a step: below, it is rounding that decides
_TOLERANCE = 1e-6  # nats a row that a step may still gain
_ROUGHLY = 1e-4  # the same for controls, and while a penalty is only being tried


def logistic_probes(samples: Samples, *, strength: float | None, seed: int) -> list[LinearProbe]:
    """Multinomial logistic regression, with scikit-learn's penalty and `strength` its C.

    Without a `strength`, penalties are lowered tenfold at a time for as long as the loss on the
    samples to choose on falls.
    """
    problem = _Problem(samples.x, len(samples.classes), seed)
    labels = samples.questions
    start = problem.start(labels)
    if strength is None:
        penalty, tried = _chosen(problem, samples)
        start[..., : tried.shape[2]] = tried
    else:
        penalty = 1 / (strength * problem.n_rows)
    tolerance = problem.mean.new_full((labels.shape[1],), _ROUGHLY)
    tolerance[: len(samples.tasks)] = _TOLERANCE
    weight, bias = problem.parts(minimise(problem, labels, penalty, start, tolerance))
    if problem.columns == 1:  # scikit-learn's one column, as two whose difference it is
        weight, bias = (torch.cat([-one, one], -2) / 2 for one in (weight, bias))
    return samples.linear("logistic", weight.mT, bias.T, 1 / (penalty * problem.n_rows))


class _Problem:
    """Rows, and what is asked of them: loss, gradient, a guess at the Hessian.

    Parameters are `[d + 1, column, question]`: weights along the principal axes, of activations
    about their mean, and last the bias. Two classes have one column, the log odds of the second.
    """

    def __init__(self, x: Float[Tensor, "row d"], n_classes: int, seed: int) -> None:
        self.mean = x.mean(0)
        self.x = x = x - self.mean  # a large offset would drown all else in rounding
        self.n_classes, self.columns = n_classes, 1 if n_classes == 2 else n_classes
        self.n_rows, self.width = x.shape
        some = x
        if self.n_rows > 8 * self.width:  # as many as tell the covariance well enough
            drawn = torch.Generator().manual_seed(seed)
            some = x[torch.randperm(self.n_rows, generator=drawn)[: 8 * self.width].to(x.device)]
        sizes, self.axes = torch.linalg.eigh(some.T @ some / len(some))
        self.unit = float(sizes.mean()) or 1.0
        self.sizes = sizes.clamp_min(1e-6 * self.unit)

    def start(self, labels: Int[Tensor, "row question"]) -> Float[Tensor, "param c question"]:
        """No weights, and the classes' shares as biases."""
        bias = self._shares(labels).log()
        theta = self.x.new_zeros(self.width + 1, self.columns, labels.shape[1])
        theta[-1] = bias if self.columns > 1 else bias[1] - bias[0]
        return theta

    def inverse(
        self, labels: Int[Tensor, "row question"], penalty: float
    ) -> Float[Tensor, "param c question"]:
        """The diagonal of the guess at the inverse Hessian."""
        shares = self._shares(labels)[-self.columns :]
        curved = (shares * (1 - shares)).clamp_min(1e-3)
        weights = 1 / (self.sizes[:, None, None] * curved + penalty)
        return torch.cat([weights, 1 / curved[None]])

    def parts(self, theta: Float[Tensor, "param c question"]) -> tuple[Tensor, Tensor]:
        """Weight and bias for activations as they are."""
        weight = self.turned(theta[:-1])
        return weight, theta[-1] - torch.einsum("d,dcq->cq", self.mean, weight)

    def turned(self, weight: Float[Tensor, "d c question"]) -> Float[Tensor, "d c question"]:
        """Weights along the principal axes as weights of activations about their mean."""
        return (self.axes @ weight.flatten(1)).view_as(weight)

    def loss_gradient(
        self, labels: Int[Tensor, "row question"], theta: Tensor, penalty: float
    ) -> tuple[Float[Tensor, " question"], Float[Tensor, "param c question"]]:
        """Mean surprise in nats with the penalty, and its gradient."""
        weight, bias = self.turned(theta[:-1]), theta[-1]
        flat = weight.flatten(1)
        lost, gradient = theta.new_zeros(theta.shape[2]), torch.zeros_like(theta)
        summed = torch.zeros_like(flat.T)
        for x, some in chunks(self.x, labels, _CHUNK):
            logs = _log_shares(torch.addmm(bias.flatten(), x, flat).unflatten(1, bias.shape))
            lost -= logs.gather(1, some[:, None])[:, 0].sum(0)
            wrong = logs.exp_()
            wrong.scatter_add_(1, some[:, None], wrong.new_full((), -1).expand_as(some[:, None]))
            wrong = wrong[:, -self.columns :]
            summed += wrong.flatten(1).T @ x
            gradient[-1] += wrong.sum(0)
        gradient[:-1] = (self.axes.T @ summed.T).view_as(weight)
        gradient /= self.n_rows
        gradient[:-1] += penalty * theta[:-1]
        return lost / self.n_rows + penalty / 2 * theta[:-1].square().sum((0, 1)), gradient

    def _shares(self, labels: Int[Tensor, "row question"]) -> Float[Tensor, "class question"]:
        """How often each class occurs; half a row where it never does."""
        counts = torch.stack([(labels == c).sum(0) for c in range(self.n_classes)])
        return counts.clamp_min(0.5) / self.n_rows


@dataclass
class _State:
    """Where L-BFGS stands with some questions; all but `history` have the questions last.

    An entry of `history` is a step, the change of the gradient, and 1 over their product.
    """

    labels: Int[Tensor, "row question"]
    theta: Float[Tensor, "param c question"]
    inverse: Float[Tensor, "param c question"]
    loss: Float[Tensor, " question"]
    gradient: Float[Tensor, "param c question"]
    history: list[tuple[Tensor, Tensor, Tensor]]

    def at(self, kept: Tensor) -> "_State":
        """These questions only."""
        parts = (self.labels, self.theta, self.inverse, self.loss, self.gradient)
        a, b, c, d, e = (one[..., kept] for one in parts)
        return _State(
            a, b, c, d, e, [(s[..., kept], y[..., kept], r[kept]) for s, y, r in self.history]
        )

    def direction(self) -> Float[Tensor, "param c question"]:
        """Minus the gradient times the inverse Hessian, as far as it is known: the two loops."""
        found, shares = -self.gradient, []
        for step, change, over in reversed(self.history):
            shares.append(over * _dot(step, found))
            found = found - shares[-1] * change
        found = found * self.inverse
        if self.history:
            step, change, over = self.history[-1]
            scale = _dot(step, change) / _dot(change, change * self.inverse)
            found = found * scale.where(over > 0, 1)
        for (step, change, over), share in zip(self.history, reversed(shares), strict=True):
            found = found + (share - over * _dot(change, found)) * step
        return found

    def move(self, problem: _Problem, penalty: float, step: Tensor, slope: Tensor) -> None:
        """Go a step, halved for questions whose loss it would not lower enough (Armijo).

        A question that no halving helps stays where it is, without a gradient: it is done.
        """
        loss, gradient = problem.loss_gradient(self.labels, self.theta + step, penalty)
        for halved in range(_HALVINGS + 1):
            long = ~(loss <= self.loss + 1e-4 * slope + 1e-6 * self.loss.abs())
            if not bool(long.any()):
                break
            share = torch.where(long, 0.5 if halved < _HALVINGS else 0.0, 1.0)
            step, slope = step * share, slope * share
            loss, gradient = problem.loss_gradient(self.labels, self.theta + step, penalty)
            if halved == _HALVINGS:
                gradient = gradient * ~long
        change = gradient - self.gradient
        curved = _dot(step, change)
        entry = (step, change, (1 / curved).where(curved > 1e-10, 0))
        self.history = [*self.history, entry][-_HISTORY:]
        self.theta, self.loss, self.gradient = self.theta + step, loss, gradient


def minimise(
    problem: _Problem,
    labels: Int[Tensor, "row question"],
    penalty: float,
    start: Float[Tensor, "param c question"],
    tolerance: Float[Tensor, " question"],
) -> Float[Tensor, "param c question"]:
    """The parameters with the least loss; steps until none would gain more than `tolerance`.

    Questions that are done leave when they are a tenth of those that are still there.
    """
    loss, gradient = problem.loss_gradient(labels, start, penalty)
    state = _State(labels, start, problem.inverse(labels, penalty), loss, gradient, [])
    found, live = start.clone(), torch.arange(start.shape[2], device=start.device)
    for _ in range(_MOST):
        step = state.direction()
        slope = _dot(state.gradient, step)
        going = -slope > tolerance[live]
        if 10 * int(going.sum()) <= 9 * len(live):
            found[..., live] = state.theta
            if not bool(going.any()):
                return found
            state, live, step, slope = state.at(going), live[going], step[..., going], slope[going]
        else:
            step, slope = step * going, slope * going
        state.move(problem, penalty, step, slope)
    found[..., live] = state.theta
    return found


def _chosen(problem: _Problem, samples: Samples) -> tuple[float, Float[Tensor, "param c question"]]:
    """The penalty with the least loss on held-out rows, from strong to weak, and its solution."""
    labels, held = samples.labels[0], samples.choose_labels[0]
    theta, found = problem.start(labels), []
    choose_x = samples.choose_x - problem.mean
    roughly = problem.mean.new_full((labels.shape[1],), _ROUGHLY)
    for share in _GRID:
        penalty = share * problem.unit
        theta = minimise(problem, labels, penalty, theta, roughly)
        weight, bias = problem.turned(theta[:-1]), theta[-1]
        scores = (choose_x @ weight.flatten(1)).unflatten(1, bias.shape) + bias
        loss = -float(_log_shares(scores).gather(1, held[:, None]).mean())
        if found and loss > found[0] - _ROUGHLY:
            break
        found = [loss, penalty, theta]
    return found[1], found[2]


def _log_shares(logits: Float[Tensor, "row c question"]) -> Float[Tensor, "row class question"]:
    both = logits if logits.shape[1] > 1 else torch.cat([-logits, logits], 1) / 2
    return both.log_softmax(1)


def _dot(a: Tensor, b: Tensor) -> Float[Tensor, " question"]:
    return (a * b).sum((0, 1))
