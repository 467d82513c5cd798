"""Task generators: what their prompts hold, on word-level vocabularies and on the real model."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import workbench.tasks
from workbench.errors import InputError
from workbench.hooks import run
from workbench.models import Model, load
from workbench.tasks import TASKS, Pair, Pairs, task
from workbench.tasks.drawing import drawn
from workbench.tasks.ioi import OBJECTS, PLACES
from workbench.tasks.names import FEMALE, MALE

SIZES = {"capitals": 20, "languages": 20}  # the others make 30 pairs
FORMS = [(name, form) for name, one in TASKS.items() for form in one.corruptions or [None]]
NUMBERS = {
    "two digits": ("two", [f"{n:02}" for n in range(100)]),
    "one digit": ("one", [str(n) for n in range(10)]),
    "three digits": ("three", [f"{n:03}" for n in range(1000)] + [f"{n:02}" for n in range(100)]),
}
_SPLITS = {"two": r"\d\d", "one": r"\d", "three": r"\d{3}"}


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Model]:
    """A model whose tokens are the words of the tasks' own modules, less those left out."""
    made: dict[tuple, Model] = {}

    def model(digits: str = "two digits", without: Sequence[str] = ()) -> Model:
        if (digits, *without) in made:
            return made[digits, *without]
        folder = tmp_path_factory.mktemp("words")
        split, numbers = NUMBERS[digits]
        texts = [p.read_text() for p in Path(workbench.tasks.__path__[0]).glob("*.py")]
        found = re.findall(r"[^\W\d]+|[^\w\s]+", " ".join(texts))
        nouns = [f"{word}s" for word in found]  # agreement's plurals
        kept = [word for word in (*found, *nouns, *numbers) if word not in without]
        vocabulary = {word: i for i, word in enumerate(dict.fromkeys(["<unk>", "<bos>", *kept]))}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Whitespace(),
                pre_tokenizers.Split(Regex(_SPLITS[split]), "isolated"),
            ]
        )
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<bos>"
        ).save_pretrained(folder)
        config = GPT2Config(
            vocab_size=len(vocabulary), n_positions=128, n_embd=8, n_layer=1, n_head=1
        )
        GPT2LMHeadModel(config).save_pretrained(folder)
        return made.setdefault((digits, *without), load(str(folder), device="cpu"))

    return model


def pairs(model: Model, name: str, form: str | None = None, n: int = 0, seed: int = 0) -> Pairs:
    return TASKS[name].pairs(model, n or SIZES.get(name, 30), seed, corruption=form)


def strings(model: Model, ids: Sequence[int]) -> list[str]:
    return [model.vocabulary.string(token).strip() for token in ids]


def parted(row: Pair) -> set[int]:
    ids = zip(row.clean.ids, row.corrupted.ids, strict=True)
    return {at for at, (one, other) in enumerate(ids) if one != other}


def word(row: Pair, place: str, corrupted: bool = False) -> str:
    return (row.corrupted if corrupted else row.clean).strings[row.at(place)].strip()


# What holds of every task


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_a_seed_is_its_pairs(words, name, form) -> None:
    model = words()
    found = pairs(model, name, form)
    assert found == pairs(model, name, form)
    assert pairs(model, name, form, n=7).rows == found.rows[:7], "more pairs begin with the fewer"
    for seed in (1, -1):
        other = pairs(model, name, form, seed=seed)
        assert [row.clean.ids for row in other] != [row.clean.ids for row in found]


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_prompts_are_distinct_and_share_their_places(words, name, form) -> None:
    found = pairs(words(), name, form)
    assert found.name == name
    assert len({row.clean.ids for row in found}) == len(found)
    assert len({tuple(row.places) for row in found}) == 1
    assert found.places == (*sorted(found.rows[0].places, key=found.rows[0].at), "end")
    for row in found:
        assert row.clean.bos and row.corrupted.bos
        assert row.wrongs
        assert word(row, "end") == word(row, "end", corrupted=True)
        if name != "induction":  # random tokens may well be <unk>
            assert "<unk>" not in [row.clean.strings[at] for at in row.places.values()]


@pytest.mark.parametrize(
    ("name", "form", "places"),
    [
        ("ioi", "s2-io", {"S2"}),
        ("ioi", "s2-third", {"S2"}),
        ("ioi", "abc", {"IO", "S1", "S2"}),
        ("capitals", None, {"subject"}),
        ("languages", None, {"subject"}),
        ("agreement", None, {"subject"}),
        ("pronouns", None, {"subject"}),
        ("greater-than", None, {"tens"}),
        ("induction", "next", {"previous+1"}),
    ],
)
def test_prompts_differ_where_they_should_and_nowhere_else(words, name, form, places) -> None:
    model = words(without=["South", "Korea", "the"])  # subjects of one word
    for row in pairs(model, name, form, n=15):
        assert parted(row) == {row.places[place] for place in places}


@pytest.mark.parametrize("name", [name for name, one in TASKS.items() if one.corruptions])
def test_the_first_corruption_is_the_default(words, name) -> None:
    known = TASKS[name].corruptions
    assert pairs(words(), name) == pairs(words(), name, next(iter(known)))
    clean = {tuple(row.clean.ids for row in pairs(words(), name, form)) for form in known}
    assert len(clean) == 1, "all corruptions share the clean prompts"
    with pytest.raises(InputError, match=rf"'typo' is not one of {', '.join(known)}"):
        pairs(words(), name, "typo")


def test_the_catalogue() -> None:
    assert task("ioi") is TASKS["ioi"]
    assert all(one.about and re.search(r"\b20\d\d\b", one.source) for one in TASKS.values())
    with pytest.raises(InputError, match=r"no task 'oio'; there are ioi, capitals"):
        task("oio")


def test_a_task_of_one_corruption_takes_no_other(words) -> None:
    with pytest.raises(InputError, match=r"corrupted in one way only; leave it out"):
        TASKS["capitals"].pairs(words(), 3, corruption="abc")


@pytest.mark.parametrize("name", list(TASKS))
def test_no_pairs_are_refused(words, name) -> None:
    with pytest.raises(InputError, match="ask for"):
        pairs(words(), name, n=-1)


def test_more_pairs_than_there_are(words) -> None:
    model = words()
    with pytest.raises(InputError, match=r"ask for at most (\d+)") as caught:
        pairs(model, "capitals", n=1000)
    most = int(re.findall(r"at most (\d+)", str(caught.value))[0])
    assert len(pairs(model, "capitals", n=most)) == most
    with pytest.raises(InputError, match=f"at most {most}"):
        pairs(model, "capitals", n=most + 1)


@pytest.mark.parametrize("name", ["ioi", "capitals", "agreement", "pronouns", "docstring"])
def test_a_vocabulary_of_bytes_has_no_words(tiny, name) -> None:
    with pytest.raises(InputError, match=r"load a(nother)? model"):
        pairs(tiny("gpt2"), name, n=1)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "induction"])
def test_letters_have_no_words(by_hand, name) -> None:
    with pytest.raises(InputError):
        pairs(by_hand, name, n=1)


# Drawing


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(1, 40),
    st.integers(),
)
def test_drawn_choices(sizes: list[int], n: int, seed: int) -> None:
    def fits(*choice: int) -> bool:
        return sum(choice) % 3 != 1

    axes = [range(size) for size in sizes]
    every = [choice for choice in product(*axes) if fits(*choice)]
    if n > len(every):
        with pytest.raises(InputError, match=f"at most {len(every)}" if every else "no pair"):
            drawn("test", axes, n, seed, fits=fits)
        n = len(every)
    if not n:
        return
    found = drawn("test", axes, n, seed, fits=fits)
    assert len(set(found)) == n
    assert all(choice in every for choice in found)
    had, all_of = Counter(c[0] for c in found), Counter(c[0] for c in every)
    for one, other in ((a, b) for a in had for b in all_of):
        assert had[one] <= had[other] + 1 or had[other] == all_of[other], "the first takes turns"


# IOI


@pytest.mark.parametrize("form", list(TASKS["ioi"].corruptions))
def test_ioi_names(words, form) -> None:
    model = words()
    for row in pairs(model, "ioi", form, n=60):
        io, s1, s2 = (word(row, place) for place in ("IO", "S1", "S2"))
        assert io != s1 == s2
        assert strings(model, row.answers) == [io]
        assert strings(model, row.wrongs) == [s1]
        assert row.at("S1+1") == row.at("S1") + 1
        others = [word(row, place, corrupted=True) for place in ("IO", "S1", "S2")]
        if form == "s2-io":
            assert others == [io, s1, io]
        if form == "s2-third":
            assert others[:2] == [io, s1] and others[2] not in (io, s1)
        if form == "abc":
            assert len({io, s1, *others}) == 5


def test_ioi_templates_and_orders_take_turns(words) -> None:
    def form(row: Pair) -> tuple[str, bool]:
        names = {word(row, place) for place in ("IO", "S1")}
        frame = [
            w for w in re.findall(r"\w+", row.clean.text) if w not in (*names, *PLACES, *OBJECTS)
        ]
        return " ".join(frame), row.at("IO") < row.at("S1")

    forms = Counter(form(row) for row in pairs(words(), "ioi", n=60))
    assert len(forms) == 10
    assert set(forms.values()) == {6}


def test_names_of_several_tokens_are_left_out(words) -> None:
    model = words(without=["Mary", "John"])
    texts = " ".join(row.clean.text for row in pairs(model, "ioi", n=60))
    assert "Mary" not in texts and "John" not in texts
    assert "Mary" in " ".join(row.clean.text for row in pairs(words(), "ioi", n=200))


# Facts


def test_capitals_are_recalled(words) -> None:
    model = words()
    france = next(r for r in pairs(model, "capitals", n=50) if word(r, "subject") == "France")
    assert france.clean.text == "The capital of France is"
    assert strings(model, france.answers) == ["Paris"]
    assert strings(model, france.wrongs) != ["Paris"]


def test_a_subject_is_exchanged_for_one_of_as_many_tokens(words) -> None:
    rows = pairs(words(), "languages", n=45)
    long = [row for row in rows if "South Korea" in row.clean.text]
    assert [row.corrupted.text for row in long] == ["The official language of the Netherlands is"]
    assert word(long[0], "subject") == "Korea"


# Grammar


def test_agreement_has_an_attractor(words) -> None:
    model = words()
    found = pairs(model, "agreement")
    assert Counter(strings(model, row.answers)[0] for row in found) == {"is": 15, "are": 15}
    for row in found:
        plural = strings(model, row.answers) == ["are"]
        assert word(row, "subject").endswith("s") is plural
        assert word(row, "attractor").endswith("s") is not plural
        assert word(row, "subject", corrupted=True).endswith("s") is not plural
        assert strings(model, row.wrongs) == ["is" if plural else "are"]


def test_pronouns_follow_the_name(words) -> None:
    model = words()
    found = pairs(model, "pronouns")
    assert Counter(strings(model, row.answers)[0] for row in found) == {"he": 15, "she": 15}
    for row in found:
        man = strings(model, row.answers) == ["he"]
        assert word(row, "subject") in (MALE if man else FEMALE)
        assert word(row, "subject", corrupted=True) in (FEMALE if man else MALE)
    assert not set(MALE) & set(FEMALE)


# Years


def test_two_digits_are_compared_whole(words) -> None:
    model = words("two digits")
    for row in pairs(model, "greater-than"):
        year = int(word(row, "tens"))
        assert row.at("tens") == row.at("ones")
        assert sorted(map(int, strings(model, row.answers))) == list(range(year + 1, 100))
        assert sorted(map(int, strings(model, row.wrongs))) == list(range(year + 1))
        assert word(row, "end") == word(row, "XX")
        assert word(row, "tens", corrupted=True) == "01"


def test_single_digits_are_compared_by_their_tens(words, tiny) -> None:
    for model in (words("one digit"), tiny("gpt2")):
        for row in pairs(model, "greater-than", n=10):
            tens = int(word(row, "tens"))
            assert row.at("ones") == row.at("tens") + 1
            assert sorted(map(int, strings(model, row.answers))) == list(range(tens + 1, 10))
            assert sorted(map(int, strings(model, row.wrongs))) == list(range(tens))
            assert [word(row, p, corrupted=True) for p in ("tens", "ones")] == ["0", "1"]


def test_years_of_other_tokens_are_refused(words) -> None:
    with pytest.raises(InputError, match=r"writes 1732 in \d tokens"):
        pairs(words("three digits"), "greater-than")


# Induction


@pytest.mark.parametrize("form", list(TASKS["induction"].corruptions))
def test_the_model_by_hand_answers_all(by_hand, form) -> None:
    """Its logits are 10 for the token it copies and 0 for all others."""
    for row in pairs(by_hand, "induction", form, n=40):
        for tokens, sign in ((row.clean, 1), (row.corrupted, -1)):
            logits = run(by_hand, tokens.tensor(), logits_at=-1).logits
            assert logits is not None
            last = logits.reshape(-1)
            assert float(last[row.answers[0]] - last[row.wrongs[0]]) == sign * 10


@settings(deadline=None)
@given(st.integers(4, 25), st.integers(), st.sampled_from(list(TASKS["induction"].corruptions)))
def test_the_last_token_stood_there_before(by_hand, length: int, seed: int, form: str) -> None:
    make = TASKS["induction"].generator
    for row in make(by_hand, 3, seed, length=length, corruption=form):
        block = row.clean.ids[1 : length + 1]
        assert len(set(block)) == length
        assert row.clean.ids[length + 1 :] == block[: length // 2]
        for tokens, followed in ((row.clean, row.answers), (row.corrupted, row.wrongs)):
            *before, last = tokens.ids
            assert before.count(last) == 1
            assert before[before.index(last) + 1] == followed[0]
        assert row.clean.ids[row.at("previous")] == row.clean.ids[-1]
        assert row.clean.ids[row.at("previous+1")] == row.answers[0]


@pytest.mark.parametrize("length", [3, 26, 1000])
def test_blocks_that_do_not_fit(by_hand, length) -> None:
    with pytest.raises(InputError, match="hold blocks of 4 to 25"):
        TASKS["induction"].generator(by_hand, 1, length=length)


# Docstrings


@pytest.mark.parametrize("form", list(TASKS["docstring"].corruptions))
def test_the_docstring_names_the_arguments_in_order(words, form) -> None:
    model = words()
    for row in pairs(model, "docstring", form):
        names = [word(row, f"{letter}_def") for letter in "ABC"]
        others = [word(row, f"{letter}_def", corrupted=True) for letter in "ABC"]
        assert [word(row, f"{letter}_doc") for letter in "AB"] == names[:2]
        assert strings(model, row.answers) == names[2:]
        assert {*names[:2], *others} <= set(strings(model, row.wrongs))
        described = [word(row, f"{letter}_doc", corrupted=True) for letter in "AB"]
        if form == "renamed":
            assert described == others[:2]
        else:
            assert not set(described) & {*names, *others}


# The real model


@torch.no_grad()
def differences(model: Model, found: Pairs) -> tuple[list[float], float]:
    """By how much the best answer's logit is above the best wrong one's; share of right top-1."""
    above: list[float] = []
    first = 0
    for numbers in found.by_length.values():
        rows = [found.rows[number] for number in numbers]
        logits = run(model, torch.tensor([r.clean.ids for r in rows]), logits_at=-1).logits
        assert logits is not None
        for row, last in zip(rows, logits.reshape(len(rows), -1), strict=True):
            above.append(float(last[list(row.answers)].max() - last[list(row.wrongs)].max()))
            first += int(last.argmax()) in row.answers
    return above, first / len(found)


@pytest.mark.real_model
@pytest.mark.parametrize(
    ("name", "n", "accuracy", "mean", "top"),
    [
        ("ioi", 60, 0.95, 4.8, 0.85),
        ("capitals", 36, 1.0, 12.1, 0.89),
        ("languages", 30, 1.0, 10.0, 0.86),
        ("agreement", 40, 1.0, 3.7, 0.80),
        ("pronouns", 40, 1.0, 4.3, 0.58),
        ("greater-than", 40, 1.0, 4.4, 0.42),
        ("induction", 30, 0.95, 13.7, 0.78),
        ("docstring", 40, 0.70, 1.4, 0.80),
    ],
)
def test_what_smollm2_knows(smollm2, name, n, accuracy, mean, top) -> None:
    """Measured over 60 pairs of two seeds; the slack is for other draws of the words."""
    above, first = differences(smollm2, pairs(smollm2, name, n=n))
    assert sum(a > 0 for a in above) / n >= accuracy
    assert sum(above) / n == pytest.approx(mean, rel=0.25)
    assert first == pytest.approx(top, abs=0.15)


@pytest.mark.real_model
def test_corrupted_prompts_do_what_their_names_say(smollm2) -> None:
    """The answer turns round, or becomes chance: the negative control of every patch."""
    means = {}
    for form in TASKS["ioi"].corruptions:
        found = pairs(smollm2, "ioi", form, n=40)
        turned = tuple(replace(row, clean=row.corrupted, corrupted=row.clean) for row in found)
        above, _ = differences(smollm2, Pairs(form, turned))
        means[form] = sum(above) / len(above)
    assert means["s2-io"] == pytest.approx(-4.8, rel=0.25)
    assert abs(means["s2-third"]) < 1 and abs(means["abc"]) < 1
