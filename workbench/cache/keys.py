"""What a stored activation is keyed by: everything that can change the number."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property

from workbench.corpus import Corpus
from workbench.models import Identity, Model, digest
from workbench.sites import Site


@dataclass(frozen=True)
class Key:
    """Activations at one whole site of one model, as one dtype, of one prompt or of a corpus.

    `tokens` is the digest of the unpadded prompt's ids, or the corpus' own. Device and library
    versions are not part of the key: they are recorded beside a prompt's data.
    """

    config: str
    weights: str
    processing: str
    compute_dtype: str
    attention: str
    tokens: str
    site: str
    dtype: str

    @cached_property
    def digest(self) -> str:
        """The name of the entry on disk, 32 hex digits."""
        return digest(asdict(self))

    def differences(self, other: "Key") -> list[str]:
        """The fields in which two keys differ."""
        return [f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)]


def key_of(model: Model, ids: Sequence[int], site: Site, dtype: str) -> Key:
    """The key of one unpadded prompt at one site (its heads are stored together)."""
    return _key(model.identity, tokens_digest(ids), site, dtype)


def keys_of(
    model: Model, rows: Sequence[Sequence[int]], sites: Sequence[Site], dtype: str
) -> dict[tuple[int, Site], Key]:
    """The keys of many prompts and sites, with the model's identity asked for once."""
    identity = model.identity
    digests = [tokens_digest(ids) for ids in rows]
    return {
        (row, site): _key(identity, tokens, site, dtype)
        for row, tokens in enumerate(digests)
        for site in sites
    }


def corpus_keys(model: Model, corpus: Corpus, sites: Sequence[Site], dtype: str) -> dict[Site, Key]:
    """The keys of a corpus at many whole sites."""
    identity = model.identity
    return {site: _key(identity, corpus.digest, site, dtype) for site in sites}


def tokens_digest(ids: Sequence[int]) -> str:
    """Digest of a prompt's ids, in order."""
    return digest({"ids": [int(token) for token in ids]})


def _key(identity: Identity, tokens: str, site: Site, dtype: str) -> Key:
    return Key(**asdict(identity), tokens=tokens, site=str(site.whole), dtype=dtype)
