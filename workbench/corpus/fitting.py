"""Whether a corpus is one that a model can read."""

from workbench.corpus.corpus import Corpus
from workbench.corpus.encoding import vocabulary_digest
from workbench.errors import InputError
from workbench.models import Model


def check_fits(corpus: Corpus, model: Model) -> None:
    """Raise `InputError` unless contexts and vocabulary are the model's.

    Ids that came from no text (`from_ids`) say nothing of their vocabulary and are not held
    against it.
    """
    limit = model.architecture.n_ctx
    if corpus.n_ctx > limit:
        raise InputError(
            f"{corpus.name} is packed into contexts of {corpus.n_ctx:,} tokens, the model's holds "
            f"{limit:,}; open it with a smaller n_ctx"
        )
    packed_with = corpus.about.get("vocabulary_digest")
    if packed_with and packed_with != vocabulary_digest(model.vocabulary):
        raise InputError(
            f"{corpus.name} is packed with the vocabulary of {corpus.about['vocabulary_of']}, "
            f"whose ids mean other tokens to {model.name}; open it again for this model"
        )
