"""Packing, cursors, what is kept on disk, and every text that cannot be a corpus."""

import copy
import errno
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from transformers import ByT5Tokenizer

from workbench.corpus import PUT_IN, Corpus, Cursor, from_ids, open_corpus, opening, packed
from workbench.corpus.encoding import encoder, vocabulary_digest
from workbench.corpus.packing import Packer, pack
from workbench.corpus.sources import Piece
from workbench.errors import InputError
from workbench.models import Model
from workbench.models.by_hand import LETTERS
from workbench.models.tokens import HubVocabulary, Labels

BOS = "<|endoftext|>"
TEXT = "The cat sat on the mat, and then the other cat sat in the hat.\n" * 9


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def gpt2(tiny) -> Model:
    return tiny("gpt2")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def jsonl(folder: Path, texts: Sequence[str], name: str = "texts.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def naive(documents: Sequence[Sequence[int]], n_ctx: int, bos: int | None) -> list:
    """The rule, word for word: (id, document) pairs in contexts, and what is left over."""
    stream = []
    for number, ids in enumerate(documents):
        if ids and bos is not None:
            stream.append((bos, PUT_IN))
        stream += [(token, number) for token in ids]
    rows = []
    while stream:
        row = [(bos, PUT_IN)] if bos is not None and stream[0][1] != PUT_IN else []
        room = n_ctx - len(row)
        rows.append(row + stream[:room])
        stream = stream[room:]
    return [row for row in rows if len(row) == n_ctx]


def packed_by_us(documents: Sequence[Sequence[int]], n_ctx: int, bos: int | None) -> list:
    rows = []
    pieces = ((Piece(number, "", 0.0), ids) for number, ids in enumerate(documents))
    pack(pieces, Packer(n_ctx, bos), lambda ids, owners: rows.append((ids, owners)))
    return [list(zip(ids.tolist(), owners.tolist(), strict=True)) for ids, owners in rows]


@settings(deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(1, 9), max_size=12), max_size=6),
    n_ctx=st.integers(2, 7),
    bos=st.sampled_from([None, 0]),
)
def test_packing_equals_the_rule(documents, n_ctx: int, bos: int | None) -> None:
    assert packed_by_us(documents, n_ctx, bos) == naive(documents, n_ctx, bos)


def test_packing_by_hand() -> None:
    """BOS before each context and each document inside one; even where it ends a context."""
    rows = packed_by_us([[1, 2, 3], [], [4], [5, 6]], n_ctx=4, bos=0)
    assert rows == [
        [(0, -1), (1, 0), (2, 0), (3, 0)],
        [(0, -1), (4, 2), (0, -1), (5, 3)],
    ], "the document 4 starts with its context and has one BOS; 6 fills no context"
    rows = packed_by_us([[1, 2], [3, 4]], n_ctx=4, bos=0)
    assert rows[0] == [(0, -1), (1, 0), (2, 0), (0, -1)]


def test_what_is_dropped_and_counted(gpt2: Model, tmp_path: Path) -> None:
    path = jsonl(tmp_path, ["abcdefg", "", "xyz", "qr"])
    corpus = open_corpus(path, gpt2, n_ctx=5)
    assert corpus.documents.tolist() == [[-1, 0, 0, 0, 0], [-1, 0, 0, 0, -1], [-1, 2, 2, 2, -1]]
    about = corpus.about
    assert (about["documents"], about["empty_documents"]) == (4, 1)
    assert (about["tokens"], about["text_tokens"], about["dropped_tokens"]) == (15, 10, 2)
    assert about["contexts_with_several_documents"] == 0
    assert open_corpus(path, gpt2, n_ctx=7).about["contexts_with_several_documents"] == 1
    assert about["ended_by"] == "the end of the text"


def test_a_file_round_trips(gpt2: Model, text: Path) -> None:
    corpus = open_corpus(text, gpt2, n_ctx=16)
    expected, _ = gpt2.vocabulary.encode(TEXT)
    kept = corpus.ids[corpus.documents != PUT_IN]
    assert kept.tolist() == expected[: len(kept)]
    assert len(expected) - len(kept) == corpus.about["dropped_tokens"] < 16
    assert (corpus.ids[:, 0] == gpt2.vocabulary.bos_id).all()
    assert (corpus.ids.dtype, corpus.documents.dtype) == (np.int32, np.int32)
    assert isinstance(corpus.ids, np.memmap)
    assert (corpus.n_ctx, corpus.n_tokens) == (16, 16 * len(corpus))
    assert corpus.about["source"] == str(text)


def test_bos_on_off_and_by_default(gpt2: Model, text: Path) -> None:
    on, auto, off = (open_corpus(text, gpt2, n_ctx=16, bos=bos) for bos in (True, None, False))
    assert on.digest == auto.digest != off.digest
    assert (auto.bos_id, auto.about["bos"], off.bos_id, off.about["bos"]) == (0, BOS, None, None)
    assert (off.documents == 0).all()
    assert not (off.ids == 0).any()


def test_labels_are_packed_as_well(by_hand: Model, tmp_path: Path) -> None:
    path = jsonl(tmp_path, ["a b c", "d e", "f g"])
    corpus = open_corpus(path, by_hand, n_ctx=4)
    spelled = [[LETTERS.string(token) for token in row] for row in corpus.ids.tolist()]
    assert spelled == [["<bos>", "a", "b", "c"], ["<bos>", "d", "e", "<bos>"]]


def test_a_vocabulary_without_bos(by_hand: Model, tmp_path: Path) -> None:
    plain = copy.copy(by_hand)
    plain.vocabulary = Labels(("a", "b"))
    path = jsonl(tmp_path, ["a b", "b a"])
    corpus = open_corpus(path, plain, n_ctx=2)
    assert corpus.ids.tolist() == [[0, 1], [1, 0]]
    with pytest.raises(InputError, match="no BOS token; leave bos off"):
        open_corpus(path, plain, n_ctx=2, bos=True)


def test_special_tokens_spelled_in_a_text_stay_text(gpt2: Model, tmp_path: Path) -> None:
    path = jsonl(tmp_path, [f"one{BOS}two", "plain", f"{BOS}" * 2])
    corpus = open_corpus(path, gpt2, n_ctx=4)
    inside = corpus.ids[corpus.documents != PUT_IN].tolist()
    assert 0 not in inside
    assert corpus.about["documents_with_special_text"] == 2
    spelled = "".join(gpt2.vocabulary.string(token) for token in inside)
    assert spelled.startswith(f"one{BOS}two")
    assert gpt2.vocabulary.encode(BOS)[0] == [0], "prompts may still hold special tokens"


def test_special_labels_in_a_text_are_refused(by_hand: Model, tmp_path: Path) -> None:
    path = jsonl(tmp_path, ["a b", "c <bos> d"])
    with pytest.raises(InputError, match=r"document 1 \(from 0\): .*'<bos>', which only packing"):
        open_corpus(path, by_hand, n_ctx=2)


@settings(deadline=None)
@given(texts=st.lists(st.text(max_size=30), max_size=8))
def test_many_at_once_are_encoded_as_one_by_one(gpt2: Model, texts: list[str]) -> None:
    pieces = [Piece(number, text, 0.0) for number, text in enumerate(texts)]
    found = list(encoder(gpt2.vocabulary)(pieces))
    assert [piece for piece, _ in found] == pieces
    assert [list(ids) for _, ids in found] == [gpt2.vocabulary.encode(text)[0] for text in texts]


def test_a_tokenizer_without_the_fast_backend_serves() -> None:
    vocabulary = HubVocabulary(ByT5Tokenizer(extra_ids=0))
    ((_, ids),) = encoder(vocabulary)([Piece(0, "a</s>b", 0.0)])
    assert ids == [ord(letter) + 3 for letter in "a</s>b"]
    assert vocabulary_digest(vocabulary) != vocabulary_digest(LETTERS)


def test_the_vocabulary_digest_is_of_what_decides_the_ids(gpt2: Model, tiny) -> None:
    digest = vocabulary_digest(gpt2.vocabulary)
    assert vocabulary_digest(tiny("llama").vocabulary) == digest, "the very same tokenizer"
    assert isinstance(gpt2.vocabulary, HubVocabulary)
    tokenizer = copy.deepcopy(gpt2.vocabulary.tokenizer)
    tokenizer("long " * 50, truncation=True, max_length=4)
    ((_, ids),) = encoder(HubVocabulary(tokenizer))([Piece(0, "long " * 50, 0.0)])
    assert len(ids) > 4, "what a call left behind in the tokenizer is not in force"
    assert vocabulary_digest(HubVocabulary(tokenizer)) == digest
    tokenizer.add_tokens(["hat"])
    assert vocabulary_digest(HubVocabulary(tokenizer)) != digest
    assert vocabulary_digest(Labels(("a", "b"))) != vocabulary_digest(Labels(("b", "a")))
    assert vocabulary_digest(Labels(("a", "b"))) != vocabulary_digest(Labels(("a", "b"), bos="a"))


# Cursors


def corpus_of(n_contexts: int, n_ctx: int = 3) -> Corpus:
    return from_ids("numbers", np.arange(n_contexts * n_ctx).reshape(n_contexts, n_ctx))


@settings(deadline=None)
@given(data=st.data(), n_contexts=st.integers(1, 12), first=st.integers(1, 5))
def test_a_cursor_resumes_exactly(data, n_contexts: int, first: int) -> None:
    corpus = corpus_of(n_contexts)
    before = list(corpus.batches(first))
    cut = data.draw(st.integers(0, len(before)))
    cursor = before[cut - 1][0] if cut else None
    size = data.draw(st.integers(1, 5))
    kept = None if cursor is None else json.loads(json.dumps(cursor.to_json()))
    rest = corpus.batches(size, None if kept is None else Cursor.from_json(kept))
    read = [ids for _, ids in before[:cut]] + [ids for _, ids in rest]
    assert torch.cat(read).tolist() == corpus.ids.tolist()


def test_batches() -> None:
    corpus = corpus_of(5)
    batches = list(corpus.batches(2))
    assert [len(ids) for _, ids in batches] == [2, 2, 1]
    assert [cursor.context for cursor, _ in batches] == [2, 4, 5]
    assert batches[0][1].dtype == torch.int64
    assert list(corpus.batches(2, batches[-1][0])) == []
    with pytest.raises(InputError, match="batch size 0 is no size"):
        corpus.batches(0)


def test_a_cursor_of_another_corpus_is_refused() -> None:
    """When it is handed over, not when the first batch is asked for."""
    corpus, other = corpus_of(5), corpus_of(6)
    with pytest.raises(InputError, match=f"corpus {other.digest}, but numbers is {corpus.digest}"):
        corpus.batches(2, Cursor(other.digest, 1))
    for context in (-1, 6):
        with pytest.raises(InputError, match=f"context {context}, but numbers has 5"):
            corpus.batches(2, Cursor(corpus.digest, context))


@pytest.mark.parametrize(
    "value", [{}, {"corpus": "a", "context": "1"}, {"corpus": "a", "context": True}, [1], None, "a"]
)
def test_what_is_no_cursor_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="is not a corpus cursor"):
        Cursor.from_json(value)


@pytest.mark.usefixtures("unchecked")
def test_a_cursor_not_made_from_its_json_is_told() -> None:
    corpus = corpus_of(5)
    with pytest.raises(InputError, match=r"the cursor is a dict; give Cursor.from_json\(...\)"):
        corpus.batches(2, Cursor(corpus.digest, 1).to_json())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ids", [np.array([[1.5, 2.0]]), np.array([[2**40, 1]]), np.array([[-1, 1]]), np.arange(4)]
)
def test_ids_are_whole_numbers_in_contexts(ids) -> None:
    with pytest.raises((InputError, TypeCheckError), match=r"whole numbers from 0|ids"):
        from_ids("wrong", ids)


def test_from_ids() -> None:
    corpus = from_ids("game", torch.tensor([[7, 1, 2], [7, 3, 4]]), bos_id=7)
    assert corpus.documents.tolist() == [[-1, 0, 0], [-1, 1, 1]]
    owners = np.zeros((2, 3), dtype=np.int32)
    others = [
        from_ids("game", corpus.ids),
        from_ids("game", corpus.ids + 1, bos_id=7),
        from_ids("game", corpus.ids.reshape(3, 2), bos_id=7),
        from_ids("game", corpus.ids, documents=owners, bos_id=7),
        from_ids("game", corpus.ids, documents=owners),
    ]
    assert len({corpus.digest, *(other.digest for other in others)}) == 6
    assert from_ids("another name", corpus.ids, bos_id=7).digest == corpus.digest
    with pytest.raises(InputError, match="'game' holds no token"):
        from_ids("game", np.zeros((0, 3), dtype=int))


def test_a_part_is_a_corpus_of_its_own() -> None:
    corpus = corpus_of(5)
    part = corpus.part(1, 4)
    assert part.ids.tolist() == corpus.ids[1:4].tolist()
    assert part.documents.tolist() == corpus.documents[1:4].tolist()
    assert len({corpus.digest, part.digest, corpus.part(0, 3).digest}) == 3
    assert part.about["part of"] == corpus.digest
    for first, end in ((-1, 2), (3, 3), (4, 2), (0, 6)):
        with pytest.raises(InputError, match="are not a part of numbers, which has 5"):
            corpus.part(first, end)


# On disk


def only_folder() -> Path:
    (folder,) = packed.packed_folder().iterdir()
    return folder


def test_the_second_time_nothing_is_packed(
    gpt2: Model, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_corpus(text, gpt2, n_ctx=16)
    monkeypatch.setattr(opening, "pack", lambda *a, **k: pytest.fail("packed again"))
    again = open_corpus(text, gpt2, n_ctx=16)
    assert again.digest == first.digest
    assert np.array_equal(again.ids, first.ids)
    renamed = text.rename(text.with_name("renamed.md"))
    by_another_name = open_corpus(renamed, gpt2, n_ctx=16)
    assert (by_another_name.digest, by_another_name.name) == (first.digest, str(renamed))
    assert by_another_name.about["source"] == str(renamed)


def test_packed_anew_it_is_the_same_to_the_byte(gpt2: Model, text: Path) -> None:
    first = open_corpus(text, gpt2, n_ctx=16)
    before = {path.name: path.read_bytes() for path in only_folder().iterdir()}
    shutil.rmtree(only_folder())
    assert open_corpus(text, gpt2, n_ctx=16).digest == first.digest
    assert {path.name: path.read_bytes() for path in only_folder().iterdir()} == before
    assert sorted(before) == ["card.json", "documents.npy", "ids.npy"]
    assert np.array_equal(np.load(only_folder() / "ids.npy", allow_pickle=False), first.ids)


def test_whatever_changes_the_tokens_changes_the_digest(
    gpt2: Model, by_hand: Model, tmp_path: Path
) -> None:
    path = jsonl(tmp_path, ["a b c d e f g h"] * 4)
    other = jsonl(tmp_path, ["a b c d e f g i"] * 4, "other.jsonl")
    corpora = [
        open_corpus(path, gpt2, n_ctx=8),
        open_corpus(other, gpt2, n_ctx=8),
        open_corpus(path, by_hand, n_ctx=8),
        open_corpus(path, gpt2, n_ctx=4),
        open_corpus(path, gpt2, n_ctx=8, bos=False),
        open_corpus(path, gpt2, n_ctx=8, max_tokens=24),
    ]
    assert len({corpus.digest for corpus in corpora}) == 6
    assert len(list(packed.packed_folder().iterdir())) == 6


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("max_tokens", [8, 20, 24, 31])
def test_max_tokens_ends_the_packing(
    gpt2: Model, tmp_path: Path, bos: bool, max_tokens: int
) -> None:
    path = jsonl(tmp_path, [TEXT, "never read"])
    whole = open_corpus(path, gpt2, n_ctx=8, bos=bos)
    some = open_corpus(path, gpt2, n_ctx=8, bos=bos, max_tokens=max_tokens)
    assert some.ids.tolist() == whole.ids[: max_tokens // 8].tolist()
    assert some.about["ended_by"] == "max_tokens"
    assert (some.about["dropped_tokens"], some.about["documents"]) == (0, 1)


def damage_value(folder: Path) -> None:
    """Another token id somewhere in the middle."""
    path = folder / "ids.npy"
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 1
    path.write_bytes(raw)


def damage_card(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text())
        change(card)
        (folder / "card.json").write_text(json.dumps(card))

    return damage


def object_array(folder: Path) -> None:
    np.save(folder / "ids.npy", np.array([print], dtype=object), allow_pickle=True)


DAMAGES = {
    "a value": (damage_value, r"ids.npy: field checksum: expected \w{32}, found \w{32}"),
    "a short file": (
        lambda folder: (folder / "ids.npy").write_bytes((folder / "ids.npy").read_bytes()[:-4]),
        "ids.npy: field file: expected a whole array",
    ),
    "a missing file": (lambda folder: (folder / "documents.npy").unlink(), "documents.npy: field"),
    "a pickle": (object_array, "ids.npy: field file: .*allow_pickle|ids.npy: field file: .*object"),
    "another array": (
        lambda folder: np.save(folder / "ids.npy", np.zeros((2, 3))),
        r"field shape: expected \(\d+, 16\), found \(2, 3\); field dtype: expected <i4, found <f8",
    ),
    "the card": (
        damage_card(lambda card: card["about"].update(documents=7)),
        r"card.json: field card: expected \w{32}, found \w{32}",
    ),
    "the format": (
        damage_card(lambda card: card.update(format=99)),
        "format: expected 1, found 99",
    ),
    "no card": (lambda folder: (folder / "card.json").unlink(), "card.json: field file"),
    "no JSON": (lambda folder: (folder / "card.json").write_text("[]"), "card.json: field file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_changed_on_disk_is_refused_by_name(gpt2: Model, text: Path, damage: str) -> None:
    open_corpus(text, gpt2, n_ctx=16)
    spoil, words = DAMAGES[damage]
    spoil(only_folder())
    with pytest.raises(InputError, match=words) as error:
        open_corpus(text, gpt2, n_ctx=16)
    assert "delete the folder" in str(error.value)
    assert str(only_folder()) in str(error.value)


def test_another_corpus_in_the_folder_is_refused(gpt2: Model, text: Path) -> None:
    open_corpus(text, gpt2, n_ctx=16)
    first = only_folder()
    open_corpus(text, gpt2, n_ctx=8)
    (other,) = set(packed.packed_folder().iterdir()) - {first}
    shutil.rmtree(first)
    other.rename(first)
    with pytest.raises(InputError, match=r"card.json: field n_ctx: expected 16, found 8"):
        open_corpus(text, gpt2, n_ctx=16)


def test_an_interruption_leaves_nothing(
    gpt2: Model, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(packed.Writer, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_corpus(text, gpt2, n_ctx=16)
    assert list(packed.packed_folder().iterdir()) == []


def test_of_two_processes_the_first_wins(
    gpt2: Model, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = packed.Writer.finish
    first: list[Corpus] = []

    def overtaken(writer: packed.Writer, *args: dict) -> None:
        monkeypatch.setattr(packed.Writer, "finish", finish)
        first.append(open_corpus(text, gpt2, n_ctx=16))
        finish(writer, *args)

    monkeypatch.setattr(packed.Writer, "finish", overtaken)
    second = open_corpus(text, gpt2, n_ctx=16)
    assert second.digest == first[0].digest
    assert [path.name for path in packed.packed_folder().iterdir()] == [only_folder().name]


def test_a_full_disk_is_told(gpt2: Model, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packed.Writer, "add", full)
    with pytest.raises(InputError, match=r"cannot be packed into .*No space left.*free some space"):
        open_corpus(text, gpt2, n_ctx=16)
    assert list(packed.packed_folder().iterdir()) == []


def test_a_text_that_changes_meanwhile_is_told(
    gpt2: Model, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = packed.Writer.add

    def changing(writer: packed.Writer, *rows: np.ndarray) -> None:
        text.write_text(TEXT + "more")
        add(writer, *rows)

    monkeypatch.setattr(packed.Writer, "add", changing)
    with pytest.raises(InputError, match="was changed while it was packed; pack it again"):
        open_corpus(text, gpt2, n_ctx=16)
    assert list(packed.packed_folder().iterdir()) == []


def test_progress_and_stages_are_told(gpt2: Model, tmp_path: Path) -> None:
    path = jsonl(tmp_path, ["some words"] * 50)
    said: list[str] = []
    shares: list[float] = []
    open_corpus(path, gpt2, n_ctx=16, say=said.append, progress=shares.append)
    assert said == [f"reading {path}", f"packing {path}"]
    assert shares == sorted(shares)
    assert len(shares) == 50
    assert shares[-1] == 1.0


# What cannot be a corpus


@pytest.mark.parametrize("content", ["", "\n", " \n "])
def test_an_empty_corpus_is_refused(gpt2: Model, by_hand: Model, tmp_path: Path, content) -> None:
    path = tmp_path / "empty.txt"
    path.write_text(content)
    with pytest.raises(InputError, match="is empty: it holds no token"):
        open_corpus(path, by_hand, n_ctx=16)
    path.write_text("")
    with pytest.raises(InputError, match="is empty: it holds no token"):
        open_corpus(path, gpt2, n_ctx=16)


def test_one_shorter_than_a_context_is_refused(gpt2: Model, tmp_path: Path) -> None:
    path = jsonl(tmp_path, ["abcd", "efg"])
    words = r"has 9 tokens \(with BOS\), fewer than one context of 10; give a longer text"
    with pytest.raises(InputError, match=words):
        open_corpus(path, gpt2, n_ctx=10)
    assert len(open_corpus(path, gpt2, n_ctx=9)) == 1


@pytest.mark.parametrize("n_ctx", [-1, 0, 1, 65])
def test_a_context_that_does_not_fit_is_refused(gpt2: Model, text: Path, n_ctx: int) -> None:
    with pytest.raises(InputError, match=rf"n_ctx {n_ctx} does not fit: .* of 2 to 64 tokens"):
        open_corpus(text, gpt2, n_ctx=n_ctx)


def test_fewer_tokens_than_a_context_are_refused(gpt2: Model, text: Path) -> None:
    with pytest.raises(InputError, match="max_tokens 15 is less than one context of 16"):
        open_corpus(text, gpt2, n_ctx=16, max_tokens=15)


def test_an_unknown_label_names_the_document(by_hand: Model, tmp_path: Path) -> None:
    path = jsonl(tmp_path, ["a b", "c zebra"])
    with pytest.raises(InputError, match=r"document 1 \(from 0\): 'zebra' is not in"):
        open_corpus(path, by_hand, n_ctx=2)
