"""Answers to the exercises of notebook 00."""

from tests.notebooks.answers import Answers


def attended(pattern, tokens, query):
    return tokens[int(pattern[query, 1:].argmax()) + 1]


def attended_in_a_loop(pattern, tokens, query):
    best = max(range(1, len(tokens)), key=lambda key: float(pattern[query, key]))
    return tokens[best]


ANSWERS = {
    "00.attended": Answers(
        right=((attended,), (attended_in_a_loop,)),
        wrong=(
            ((lambda pattern, tokens, query: tokens[int(pattern[query].argmax())],), "BOS"),
            (
                (lambda pattern, tokens, query: tokens[int(pattern[query, 1:].argmax())],),
                "BOS|token before",
            ),
            (
                (lambda pattern, tokens, query: tokens[int(pattern[1:, query].argmax()) + 1],),
                "queries are rows",
            ),
            ((lambda pattern, tokens, query: tokens[-1],), "less than another token"),
            (
                (lambda pattern, tokens, query: int(pattern[query, 1:].argmax()),),
                "one of the tokens",
            ),
        ),
    ),
    "00.effect": Answers(
        right=((lambda clean, corrupted, patched: (patched - corrupted) / (clean - corrupted),),),
        wrong=(
            ((lambda clean, corrupted, patched: patched - corrupted,), "divide by the whole way"),
            (
                (lambda clean, corrupted, patched: (clean - patched) / (clean - corrupted),),
                "what is missing",
            ),
            ((lambda clean, corrupted, patched: patched / clean,), "not at 0 then"),
            (
                (lambda clean, corrupted, patched: (patched - clean) / (clean - corrupted),),
                "0 at the clean",
            ),
        ),
    ),
}
