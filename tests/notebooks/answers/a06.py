"""Answers to the exercises of notebook 06."""

import torch

from tests.notebooks.answers import Answers


def softmax(logits, temperature):
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(), len(logits)).to(logits)
    weights = ((logits - logits.max()) / temperature).exp()
    return weights / weights.sum()


def naive(logits, temperature):
    weights = (logits / temperature).exp()
    return weights / weights.sum()


def hot(logits, temperature):
    return softmax(logits, 1 / temperature)


def never_cold(logits, temperature):
    return (logits / max(temperature, 0.5)).softmax(-1)


def nucleus(shares, p, crossing=True, scaled=True, in_place=True):
    ordered, tokens = shares.sort(descending=True)
    sums = ordered.cumsum(0)
    kept = ordered * (sums - ordered < p if crossing else sums < p)
    found = torch.zeros_like(shares).scatter(0, tokens, kept) if in_place else kept
    return found / found.sum() if scaled else found


def too_many(shares, p):
    ordered, tokens = shares.sort(descending=True)
    kept = ordered * (ordered.cumsum(0) - ordered <= p)
    return torch.zeros_like(shares).scatter(0, tokens, kept / kept.sum())


def with_ties(shares, p):
    smallest = nucleus(shares, p, scaled=True) > 0
    kept = shares * (shares >= shares[smallest].min())
    return kept / kept.sum()


def losses(logits, ids):
    return -logits[:-1].log_softmax(-1).gather(-1, ids[1:, None])


def own_token(logits, ids):
    return (-logits.log_softmax(-1).gather(-1, ids[:, None]).mean()).exp()


def speculative(p, q, token, u, v):
    if u < p[token] / q[token]:
        return token
    residual = (p - q).clamp_min(0)
    return int((residual.cumsum(0) / residual.sum() <= v).sum())


def from_p(p, q, token, u, v):
    return token if u < p[token] / q[token] else int((p.cumsum(0) <= v).sum())


def turned(p, q, token, u, v):
    return token if u < q[token] / max(float(p[token]), 1e-9) else 0


def unscaled(p, q, token, u, v):
    if u < p[token] / q[token]:
        return token
    return min(3, int(((p - q).clamp_min(0).cumsum(0) <= v).sum()))


ANSWERS = {
    "06.softmax": Answers(
        right=((softmax,),),
        wrong=(
            ((naive,), "nan"),
            ((hot,), "sharpens"),
            ((lambda logits, t: logits.softmax(-1) / t,), "before the exponential"),
            ((never_cold,), "temperature 0"),
        ),
    ),
    "06.top_p": Answers(
        right=((nucleus,),),
        wrong=(
            ((lambda s, p: nucleus(s, p, crossing=False),), "reaches p is missing"),
            ((lambda s, p: nucleus(s, p, scaled=False),), "not to 1"),
            ((lambda s, p: nucleus(s, p, in_place=False),), "back at their tokens"),
            ((lambda s, p: s * (s >= p),), "nothing is left"),
            ((too_many,), "fewer make the smallest set"),
            ((with_ties,), "fewer make the smallest set"),
        ),
    ),
    "06.perplexity": Answers(
        right=(
            (lambda logits, ids: losses(logits, ids).mean().exp(),),
            (lambda logits, ids: losses(logits, ids).mean().exp().item(),),
        ),
        wrong=(
            ((own_token,), "predicts the next"),
            ((lambda logits, ids: losses(logits, ids).mean(),), "exponential is asked"),
            ((lambda logits, ids: losses(logits, ids).exp().mean(),), "mean comes first"),
            ((lambda logits, ids: losses(logits, ids).sum().exp(),), "sum over positions"),
        ),
    ),
    "06.speculative": Answers(
        right=((speculative,),),
        wrong=(
            ((from_p,), "more than q"),
            ((turned,), "refused"),
            ((unscaled,), "more than q"),
            ((lambda p, q, token, u, v: token,), "refused"),
        ),
    ),
}
