"""Text as token ids in contexts: sources, packing, a cursor that resumes."""

from workbench.corpus.catalogue import BuiltInCorpus, built_ins, corpus_folder
from workbench.corpus.corpus import PUT_IN, Corpus, Cursor, from_ids
from workbench.corpus.fitting import check_fits
from workbench.corpus.opening import open_corpus, source_of
from workbench.corpus.packed import cards, damaged_cards, packed_folder

__all__ = [
    "PUT_IN",
    "BuiltInCorpus",
    "Corpus",
    "Cursor",
    "built_ins",
    "cards",
    "check_fits",
    "corpus_folder",
    "damaged_cards",
    "from_ids",
    "open_corpus",
    "packed_folder",
    "source_of",
]
