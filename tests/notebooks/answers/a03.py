"""Answers to the exercises of notebook 03."""

from itertools import pairwise

from tests.notebooks.answers import Answers


def merge(tokens, pair):
    made, place = [], 0
    while place < len(tokens):
        if tuple(tokens[place : place + 2]) == pair:
            made.append(pair[0] + pair[1])
            place += 2
        else:
            made.append(tokens[place])
            place += 1
    return made


def merge_into_the_last(tokens, pair):
    made, used = [], False
    for token in tokens:
        used = bool(made) and not used and (made[-1], token) == pair
        if used:
            made[-1] += token
        else:
            made.append(token)
    return made


def merge_the_first(tokens, pair):
    for place, found in enumerate(pairwise(tokens)):
        if found == pair:
            return [*tokens[:place], "".join(pair), *tokens[place + 2 :]]
    return list(tokens)


def merge_by_replacing(tokens, pair):
    return " ".join(tokens).replace(" ".join(pair), "".join(pair)).split()


def merge_without_a_step(tokens, pair):
    made = []
    for place, token in enumerate(tokens):
        if tuple(tokens[place : place + 2]) == pair:
            made.append("".join(pair))
        else:
            made.append(token)
    return made


def merge_losing_the_end(tokens, pair):
    made, place = [], 0
    while place < len(tokens) - 1:
        if (tokens[place], tokens[place + 1]) == pair:
            made.append("".join(pair))
            place += 2
        else:
            made.append(tokens[place])
            place += 1
    return made


def merge_in_place(tokens, pair):
    for place in range(len(tokens) - 1):
        if tuple(tokens[place : place + 2]) == pair:
            tokens[place : place + 2] = ["".join(pair)]
    return tokens


def merge_greedily(tokens, pair):
    made = []
    for token in tokens:
        if made and made[-1].endswith(pair[0]) and token == pair[1]:
            made[-1] += token
        else:
            made.append(token)
    return made


def encode(word, ranks):
    tokens = list(word)
    while known := [pair for pair in pairwise(tokens) if pair in ranks]:
        tokens = merge(tokens, min(known, key=ranks.__getitem__))
    return tokens


def encode_in_training_order(word, ranks):
    tokens = list(word)
    for pair in sorted(ranks, key=ranks.__getitem__):
        tokens = merge(tokens, pair)
    return tokens


def encode_left_to_right(word, ranks):
    tokens = list(word)
    while known := [pair for pair in pairwise(tokens) if pair in ranks]:
        tokens = merge(tokens, known[0])
    return tokens


def encode_the_last_learnt(word, ranks):
    tokens = list(word)
    while known := [pair for pair in pairwise(tokens) if pair in ranks]:
        tokens = merge(tokens, max(known, key=ranks.__getitem__))
    return tokens


def encode_once(word, ranks):
    tokens = list(word)
    known = [pair for pair in pairwise(tokens) if pair in ranks]
    return merge(tokens, min(known, key=ranks.__getitem__)) if known else tokens


def encode_the_longest(word, ranks):
    vocabulary = {*word, *(a + b for a, b in ranks)}
    tokens = []
    while word:
        end = next(end for end in range(len(word), 0, -1) if word[:end] in vocabulary)
        tokens.append(word[:end])
        word = word[end:]
    return tokens


def encode_unguarded(word, ranks):
    tokens = list(word)
    while True:
        tokens = merge(tokens, min(pairwise(tokens), key=lambda pair: ranks[pair]))


def last_token(offsets, text, word):
    last = text.index(word) + len(word) - 1
    return max(place for place, (start, end) in enumerate(offsets) if start <= last < end)


def last_by_overlap(offsets, text, word):
    first = text.index(word)
    end = first + len(word)
    return [i for i, (a, b) in enumerate(offsets) if a < end and b > first][-1]


def first_token(offsets, text, word):
    first = text.index(word)
    return next(place for place, (start, end) in enumerate(offsets) if start <= first < end)


def by_counting_words(offsets, text, word):
    return len(text[: text.index(word)].split())


def with_the_end_included(offsets, text, word):
    end = text.index(word) + len(word)
    return max(place for place, (start, last) in enumerate(offsets) if start <= end <= last)


def by_an_equal_end(offsets, text, word):
    end = text.index(word) + len(word)
    return next(place for place, (_, last) in enumerate(offsets) if last == end)


def of_the_last_occurrence(offsets, text, word):
    last = text.rindex(word) + len(word) - 1
    return max(place for place, (start, end) in enumerate(offsets) if start <= last < end)


def the_span(offsets, text, word):
    return text.index(word), text.index(word) + len(word)


ANSWERS = {
    "03.merge": Answers(
        right=[(merge,), (merge_into_the_last,)],
        wrong=[
            ((merge_the_first,), r"go on after the first occurrence"),
            ((merge_by_replacing,), r"compare whole tokens, not letters"),
            ((merge_without_a_step,), r"tokens were lost or doubled"),
            ((merge_losing_the_end,), r"look at what happens to the last token"),
            ((merge_in_place,), r"changes the list that it is given"),
            ((merge_greedily,), r"a token that has been used is not used again"),
            ((lambda tokens, pair: "".join(tokens),), r"a list of strings is asked for"),
            ((lambda tokens, pair: [].clear(),), r"returns nothing"),
        ],
    ),
    "03.encode": Answers(
        right=[(encode,), (encode_in_training_order,)],
        wrong=[
            ((encode_left_to_right,), r"their place in the word is no matter"),
            ((encode_the_last_learnt,), r"which end of the order is rank 0"),
            ((encode_once,), r"go on until none is left"),
            ((encode_the_longest,), r"this is the longest token first"),
            ((encode_unguarded,), r"raises KeyError"),
            ((lambda word, ranks: [word],), r"made by no merge"),
            ((lambda word, ranks: list(word),), r"go on until none is left"),
        ],
    ),
    "03.last_token": Answers(
        right=[(last_token,), (last_by_overlap,)],
        wrong=[
            ((first_token,), r"part of the word, but not its last"),
            ((by_counting_words,), r"BOS stands at position 0"),
            ((with_the_end_included,), r"that is the token after it|offsets do not include"),
            ((by_an_equal_end,), r"raises StopIteration"),
            ((of_the_last_occurrence,), r"the first occurrence that counts"),
            ((the_span,), r"a position is a whole number"),
            (
                (lambda offsets, text, word: len(offsets) - 1,),
                r"token after it|no part of the word",
            ),
        ],
    ),
}
