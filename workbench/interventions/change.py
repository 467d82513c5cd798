"""What edits change: the next-token distributions with and without them."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.errors import InputError
from workbench.hooks import Edit, run, sites
from workbench.metrics import kl_divergence
from workbench.models import Model
from workbench.sites import Site, expand


@dataclass(frozen=True, eq=False)
class Change:
    """Logits before and after, and how far each edit moved its site (as the receipt says).

    `kl` is KL(before || after) in nats; it and the logits are NaN at padding.
    """

    before: Float[Tensor, "batch pos d_vocab"]
    after: Float[Tensor, "batch pos d_vocab"]
    kl: Float[Tensor, "batch pos"]
    moved: tuple[tuple[Site, float], ...]

    @property
    def mean_kl(self) -> float:
        """Over all real positions, each counting the same."""
        return float(self.kl.nanmean())

    @property
    def unmoved(self) -> tuple[Site, ...]:
        """Where an edit changed nothing: the activation was already what was put in."""
        return tuple(site for site, far in self.moved if far == 0)


def changed(
    model: Model,
    tokens: Int[Tensor, "batch pos"],
    edit: Edit | Sequence[Edit],
    *,
    mask: Bool[Tensor, "batch pos"] | None = None,
) -> Change:
    """Run prompts without and with edits. `mask` is True on real tokens.

    Raises `InputError` where a run's logits are not finite.
    """
    edits = (edit,) if isinstance(edit, Edit) else tuple(edit)
    places = [place for one in edits for place in expand(one.site, sites(model))]
    after, before = (run(model, tokens, edit=some, mask=mask) for some in (edits, ()))
    assert before.logits is not None and after.logits is not None, "nothing was read"
    for name, logits in (("without", before.logits), ("with", after.logits)):
        real = logits if mask is None else logits[mask]
        if bool(real.isnan().any()):
            raise InputError(
                f"the run {name} the edit gives logits that are not finite; load the model in "
                "float32, or look at its weights"
            )
    log_p, log_q = (x.float().log_softmax(-1) for x in (before.logits, after.logits))
    return Change(
        before.logits,
        after.logits,
        kl_divergence(log_p, log_q),
        tuple(zip(places, after.receipt.moved, strict=True)),
    )
