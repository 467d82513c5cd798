"""Tokens: BOS policy, offsets, labels that can be read, the chat template's positions."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from workbench.errors import InputError
from workbench.models.by_hand import LETTERS
from workbench.models.tokens import HubVocabulary, Labels, from_ids, tokenize, visible

BOS = "<|endoftext|>"
WITHOUT_BOS = Labels(("a", "b"))


@pytest.fixture(scope="module")
def bytes_bpe(tiny_folder) -> HubVocabulary:
    return HubVocabulary(AutoTokenizer.from_pretrained(tiny_folder("gpt2")))


@pytest.mark.parametrize(
    ("vocabulary", "bos", "chat", "expected"),
    [
        ("hub", None, False, True),
        ("hub", True, False, True),
        ("hub", False, False, False),
        ("hub", None, True, False),  # the template decides
        ("hub", True, True, True),
        ("letters", None, False, True),
        ("letters", False, False, False),
        ("no bos", None, False, False),
        ("no bos", False, False, False),
    ],
)
def test_bos_policy(bytes_bpe, vocabulary: str, bos: bool | None, chat: bool, expected) -> None:
    chosen = {"hub": bytes_bpe, "letters": LETTERS, "no bos": WITHOUT_BOS}[vocabulary]
    tokens = tokenize(chosen, "a b", limit=99, bos=bos, chat=chat)
    assert tokens.bos is expected
    assert (tokens.ids[0] == chosen.bos_id) is expected
    assert len(tokens) == len(tokens.ids) == len(tokens.strings) == len(tokens.offsets)
    assert tokens.tensor().tolist() == [list(tokens.ids)]


@pytest.mark.parametrize(
    ("vocabulary", "text", "more", "told"),
    [
        ("hub", f"{BOS}hello", {}, r"already begins with BOS \(<\|endoftext\|>\).*BOS off"),
        ("letters", "<bos> a", {"bos": True}, r"already begins with BOS \(<bos>\)"),
        ("no bos", "a", {"bos": True}, "no BOS token; leave bos off"),
        ("hub", "", {}, "prompt is empty"),
        ("hub", " \n\t", {}, "prompt is empty"),
        ("hub", "x" * 1200, {}, r"has 1,201 tokens, the model's context holds 64; shorten"),
        ("hub", "x" * 64, {}, "has 65 tokens"),  # BOS counts
        ("letters", "a é b", {}, "'é' is not in this model's vocabulary.*: <bos>, a, b, c"),
        ("letters", "a b", {"chat": True}, "no chat template; leave the chat off"),
        ("hub without template", "a", {"chat": True}, "no chat template; leave the chat off"),
    ],
)
def test_a_prompt_that_cannot_be_run_is_told(bytes_bpe, vocabulary, text, more, told) -> None:
    bare = AutoTokenizer.from_pretrained(bytes_bpe.tokenizer.name_or_path)
    bare.chat_template = None
    known = {"hub": bytes_bpe, "letters": LETTERS, "no bos": WITHOUT_BOS}
    chosen = known.get(vocabulary, HubVocabulary(bare))
    with pytest.raises(InputError, match=told):
        tokenize(chosen, text, limit=64, **more)


def test_a_prompt_of_exactly_the_context_is_run(bytes_bpe) -> None:
    assert len(tokenize(bytes_bpe, "x" * 63, limit=64)) == 64
    assert len(tokenize(bytes_bpe, f"{BOS}hello", limit=64, bos=False)) == 6


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30))
def test_offsets_point_at_the_characters(bytes_bpe, text: str) -> None:
    if not text.strip():
        return
    tokens = tokenize(bytes_bpe, text, limit=10**6)
    assert tokens.text == text
    assert tokens.offsets[0] == (0, 0)
    for string, (start, end) in list(zip(tokens.strings, tokens.offsets, strict=True))[1:]:
        if "\\x" not in string and string != BOS:
            assert text[start:end] == string
        assert 0 <= start < end <= len(text)


def test_letters_offsets_point_at_the_words() -> None:
    tokens = tokenize(LETTERS, " a  bb".replace("bb", "b") + "\nb", limit=9)
    assert [tokens.text[start:end] for start, end in tokens.offsets] == ["", "a", "b", "b"]
    assert tokens.offsets[-1] == (6, 7)


def test_multi_byte_characters_show_their_bytes(bytes_bpe) -> None:
    tokens = tokenize(bytes_bpe, "é€", limit=9, bos=False)
    assert tokens.strings == tuple(f"\\x{byte:02x}" for byte in "é€".encode())
    assert tokens.offsets == ((0, 1), (0, 1), (1, 2), (1, 2), (1, 2))


def test_white_space_is_made_visible(bytes_bpe) -> None:
    tokens = tokenize(bytes_bpe, "a the\n\t\rb", limit=99)
    assert tokens.labels == (BOS, "a", "·the", "↵", "⇥", "␍", "b")
    assert tokens.strings[2:4] == (" the", "\n")
    assert visible("a  b") == "a··b"


def test_tokens_outside_the_tokenizer_show_their_number(bytes_bpe) -> None:
    assert bytes_bpe.string(5000) == "[5000]"


def test_from_ids_spells_the_text(bytes_bpe) -> None:
    ids = tokenize(bytes_bpe, "in the hat", limit=99).ids
    tokens = from_ids(bytes_bpe, ids, bos=True)
    assert tokens.text == f"{BOS}in the hat"
    assert tokens.ids == ids
    spelled = [tokens.text[start:end] for start, end in tokens.offsets]
    assert spelled == list(tokens.strings)


@pytest.mark.parametrize(
    "text", ["hello the end", " hello ", "user", "[user]", "assistant", "a", "]", "a\nb"]
)
@pytest.mark.parametrize("bos", [None, True])
def test_the_template_is_what_the_user_did_not_write(bytes_bpe, text: str, bos) -> None:
    tokens = tokenize(bytes_bpe, text, limit=99, chat=True, bos=bos)
    assert tokens.text == f"[user] {text}\n[assistant]"
    own = [position for position in range(len(tokens)) if position not in tokens.template]
    assert own == list(range(own[0], own[-1] + 1))
    spelled = "".join(tokens.strings[position] for position in own)
    assert spelled.strip() == text.strip()
    first, last = tokens.offsets[own[0]][0], tokens.offsets[own[-1]][1]
    assert len("[user]") <= first < last <= len(f"[user] {text}"), "the user's turn, no other"
    assert tokenize(bytes_bpe, text, limit=99).template == frozenset()


def test_a_template_that_rewrites_the_prompt_is_told(bytes_bpe) -> None:
    class Shouting(HubVocabulary):
        def chat(self, text: str) -> str:
            return super().chat(text.upper())

    for text in ("hello", "assistant"):
        with pytest.raises(InputError, match="chat template changes the prompt's text"):
            tokenize(Shouting(bytes_bpe.tokenizer), text, limit=99, chat=True)


def test_tokens_are_values(bytes_bpe) -> None:
    tokens = tokenize(bytes_bpe, "the", limit=9)
    assert tokens == tokenize(bytes_bpe, "the", limit=9)
    with pytest.raises(dataclasses.FrozenInstanceError):
        tokens.bos = False  # type: ignore[misc]
