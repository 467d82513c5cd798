"""`open_corpus`: from a name to contexts of token ids, packed once and kept."""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.corpus.catalogue import built_ins, corpus_folder
from workbench.corpus.corpus import Corpus
from workbench.corpus.encoding import encoder, special_text, vocabulary_digest
from workbench.corpus.hub import folder_source, hub_source
from workbench.corpus.packed import packed_folder, read, writing
from workbench.corpus.packing import Packer, pack
from workbench.corpus.sources import SUFFIXES, Source, file_source, texts_in, texts_source
from workbench.errors import InputError
from workbench.home import typed
from workbench.models import Model, digest
from workbench.models.loading import quiet
from workbench.models.tokens import Vocabulary

N_CTX = 128


def unseen(share: float) -> None:
    """The listener of those who do not want to see how far packing is."""


def open_corpus(
    name: str | Path,
    model: Model,
    *,
    n_ctx: int | None = None,
    bos: bool | None = None,
    text: str | None = None,
    split: str | None = None,
    subset: str | None = None,
    max_tokens: int | None = None,
    say: Callable[[str], None] = quiet,
    progress: Callable[[float], None] = unseen,
) -> Corpus:
    """A corpus in contexts of `n_ctx` tokens of the model's vocabulary.

    By default 128, or the model's context where that is shorter.

    `name` is a built-in name, a file (text is one document; .jsonl and .parquet hold one in each
    row's field `text`), a folder of .txt files, a local data set or one on the Hub (`split`,
    "train" by default; `subset` where it has several). BOS stands in front of every context and
    of every document inside one, where the vocabulary has a BOS or `bos` is true. Attention can
    look across the documents of a context. Text that spells a special token stays text.

    Packed once, into the workbench's home, under a digest of all of this and of the source's
    bytes (its commit on the Hub); opened and checked against its checksums from then on.
    `max_tokens` ends the packing early. `say` hears the stages, `progress` the share packed.
    Raises `InputError` for a source that cannot be read, an empty one, one shorter than a
    context, and a packed corpus that was changed.
    """
    name = str(name)
    vocabulary = model.vocabulary
    bos_id = _bos_id(vocabulary, bos)
    n_ctx = min(N_CTX, model.architecture.n_ctx) if n_ctx is None else n_ctx
    _check_sizes(n_ctx, max_tokens, model)
    source = source_of(name, text=text, split=split, subset=subset, say=say)
    say(f"reading {name}")
    request = {
        "source": dict(source.identity()),
        "vocabulary": vocabulary_digest(vocabulary),
        "n_ctx": n_ctx,
        "bos_id": bos_id,
        "max_tokens": max_tokens,
    }
    folder = packed_folder() / digest(request)
    if not folder.exists():
        say(f"packing {name}")
        _pack(folder, name, model, source, request, progress)
    return read(folder, name, request)


def source_of(
    name: str,
    *,
    text: str | None = None,
    split: str | None = None,
    subset: str | None = None,
    say: Callable[[str], None] = quiet,
) -> Source:
    """The documents behind a name; a built-in corpus is fetched first where it must be."""
    if name in built_ins():
        return _built_in(name, text, split, subset, say)
    path = typed(name)
    if path.is_dir():
        return _folder(path, text, split, subset)
    if path.is_file():
        _refuse_splits(name, split, subset)
        return file_source(path, text)
    if name.startswith((".", "/", "~")) or path.suffix.lower() in SUFFIXES:
        raise InputError(f"there is no file {name!r}; give a .txt, .jsonl or .parquet file")
    near = difflib.get_close_matches(name, built_ins(), n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    hint += "`workbench corpus list` names the built-in ones"
    return hub_source(name, column=text, split=split, subset=subset, hint=hint, say=say)


def _built_in(
    name: str, text: str | None, split: str | None, subset: str | None, say: Callable[[str], None]
) -> Source:
    folder, built_in = corpus_folder(name), built_ins()[name]
    built_in.install(folder, say=say)
    source = _folder(folder, text, split, subset)
    found = source.identity()["content"]
    if found != built_in.content:
        raise InputError(
            f"{folder}: field content: expected {built_in.content}, found {found}: its texts were "
            f"changed; delete the folder and run `workbench corpus pull {name}`"
        )
    return source


def _folder(folder: Path, text: str | None, split: str | None, subset: str | None) -> Source:
    texts = texts_in(folder)
    if not texts:
        return folder_source(folder, column=text, split=split, subset=subset)
    _refuse_splits(str(folder), split, subset)
    return texts_source(texts, text)


def _refuse_splits(name: str, split: str | None, subset: str | None) -> None:
    if split or subset:
        raise InputError(f"{name} has neither splits nor subsets; leave split and subset out")


def _bos_id(vocabulary: Vocabulary, bos: bool | None) -> int | None:
    if bos and vocabulary.bos_id is None:
        raise InputError("this vocabulary has no BOS token; leave bos off")
    return None if bos is False else vocabulary.bos_id


def _check_sizes(n_ctx: int, max_tokens: int | None, model: Model) -> None:
    limit = model.architecture.n_ctx
    if type(n_ctx) is not int or not 2 <= n_ctx <= limit:
        raise InputError(
            f"n_ctx {n_ctx:,} does not fit: {model.name} takes contexts of 2 to {limit:,} tokens"
        )
    if max_tokens is not None and max_tokens < n_ctx:
        raise InputError(
            f"max_tokens {max_tokens:,} is less than one context of {n_ctx:,}; give more, or a "
            "smaller n_ctx"
        )


def _pack(
    folder: Path,
    name: str,
    model: Model,
    source: Source,
    request: Mapping[str, Any],
    progress: Callable[[float], None],
) -> None:
    """Pack the source's documents into a new `folder`, or raise and leave nothing."""
    vocabulary, n_ctx, bos_id = model.vocabulary, request["n_ctx"], request["bos_id"]
    most = request["max_tokens"] and request["max_tokens"] // n_ctx
    packer = Packer(n_ctx, bos_id)
    try:
        with writing(folder, n_ctx) as writer:
            tally = pack(
                encoder(vocabulary)(source.pieces()),
                packer,
                writer.add,
                most=most,
                special=special_text(vocabulary),
                progress=progress,
            )
            if not tally.contexts:
                raise _too_short(name, packer.filled, n_ctx)
            if source.identity() != request["source"]:
                raise InputError(f"{name} was changed while it was packed; pack it again")
            about = {
                "source": name,
                "source_hash": request["source"].get("content") or request["source"]["revision"],
                "vocabulary_of": model.name,
                "vocabulary_digest": request["vocabulary"],
                "bos": None if bos_id is None else vocabulary.string(bos_id),
                **tally.about(n_ctx, whole=tally.contexts != most),
                "boundaries": "attention can look across the documents of a context",
            }
            writer.finish(request, about)
    except OSError as error:
        raise InputError(
            f"{name} cannot be packed into {folder} ({error.strerror or error}); "
            "free some space, see that it may be written to, or give another home with "
            "$WORKBENCH_HOME"
        ) from error


def _too_short(name: str, tokens: int, n_ctx: int) -> InputError:
    if not tokens:
        return InputError(f"corpus {name!r} is empty: it holds no token; give one with text")
    return InputError(
        f"corpus {name!r} has {tokens:,} tokens (with BOS), fewer than one context of {n_ctx:,}; "
        "give a longer text or a smaller n_ctx"
    )
