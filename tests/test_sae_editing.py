"""A dictionary as Edits: what they change against brute force, and that they leave no trace."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sae.dictionary import SAE
from sae.editing import clamp, random_row, readable, said, splice, steer
from workbench.errors import InputError
from workbench.generation import generate
from workbench.hooks import Edit, run
from workbench.interventions import changed
from workbench.models import Model
from workbench.sites import Site

SITE = Site.parse("1.resid_post")
TEXT = "the tin man can think"


@pytest.fixture
def model(tiny: Callable[..., Model]) -> Model:
    return tiny("gpt2")


@pytest.fixture
def sae(model: Model) -> SAE:
    """Of the model's width, random but for its last latent, which never says anything."""
    draw = torch.Generator().manual_seed(1)
    d, n = model.architecture.d_model, 60
    W_dec = torch.nn.functional.normalize(torch.randn(n, d, generator=draw), dim=1)
    b_dec = 0.1 * torch.randn(d, generator=draw)
    b_enc = 0.1 * torch.randn(n, generator=draw)
    b_enc[-1] = -1e6
    return SAE(SITE, "topk", W_dec, b_enc, W_dec, b_dec, b_dec, 6, None)


def ids_of(model: Model) -> Tensor:
    return model.tokenize(TEXT).tensor()


def logits_of(model: Model, *edits: Edit) -> Tensor:
    found = run(model, ids_of(model), edit=edits).logits
    assert found is not None
    return found


def activation(model: Model, *edits: Edit) -> Tensor:
    return run(model, ids_of(model), read=SITE, edit=edits).activations[SITE]


def loudest(sae: SAE, found: Tensor) -> int:
    return int(sae.encode(found[0, 1:]).sum(0).argmax())


def by_hand(
    sae: SAE, found: Tensor, latent: int, value: float | None, amount: float = 0.0
) -> Tensor:
    """All of the dictionary taken apart and put together again, row by row; BOS as it is."""
    made = found.clone()
    for pos in range(1, found.shape[1]):
        x = found[0, pos]
        acts = sae.encode(x[None])[0]
        error = x - sae.decode(acts)
        if value is not None:
            acts[latent] = value
        made[0, pos] = sae.decode(acts) + error + amount * sae.W_dec[latent]
    return made


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_clamped_latent_says_so(model: Model, sae: SAE, value: float) -> None:
    found = activation(model)
    latent = loudest(sae, found)
    edit = clamp(sae, latent, value)
    expected = by_hand(sae, found, latent, value)
    torch.testing.assert_close(activation(model, edit), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(expected, found, atol=1e-3)
    there = run(model, ids_of(model), edit=Edit(SITE, lambda _: expected)).logits
    torch.testing.assert_close(logits_of(model, edit), there, rtol=1e-4, atol=1e-4)


def test_a_steered_latent_writes_more(model: Model, sae: SAE) -> None:
    found = activation(model)
    expected = by_hand(sae, found, 7, None, 2.5)
    given = activation(model, steer(sae, 7, 2.5))
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(given[:, 0], found[:, 0]), "BOS is left alone"
    at = activation(model, steer(sae, 7, 2.5, [3, -1]))
    changed_at = (at - found).abs().sum(-1)[0].nonzero().flatten().tolist()
    assert changed_at == [3, found.shape[1] - 1]


def test_what_says_nothing_can_be_ablated_without_a_change(model: Model, sae: SAE) -> None:
    latent = sae.n_latents - 1
    change = changed(model, ids_of(model), clamp(sae, latent, 0.0))
    assert torch.equal(change.before, change.after) and change.unmoved == (SITE,)
    assert torch.equal(activation(model, steer(sae, latent, 0.0)), activation(model))


def test_a_splice_is_the_reconstruction_and_with_its_error_the_clean_run(model, sae) -> None:
    found, clean = activation(model), logits_of(model)
    spliced = activation(model, splice(sae))
    torch.testing.assert_close(spliced[0, 1:], sae(found[0, 1:]), rtol=1e-6, atol=1e-6)
    assert torch.equal(spliced[:, 0], found[:, 0])
    torch.testing.assert_close(logits_of(model, splice(sae, error=True)), clean, rtol=0, atol=2e-4)
    assert float((logits_of(model, splice(sae)) - clean).abs().max()) > 0.1


def test_no_edit_leaves_a_trace(model: Model, sae: SAE) -> None:
    before, weights = (
        logits_of(model),
        {n: v.clone() for n, v in vars(sae).items() if isinstance(v, Tensor)},
    )
    loud = loudest(sae, activation(model))
    for edit in (clamp(sae, loud, 0.0), clamp(sae, 3, 9.0), steer(sae, 3, 9.0), splice(sae)):
        assert not torch.equal(logits_of(model, edit), before)
        generate(model, TEXT, max_new_tokens=3, edits=[edit])
        assert torch.equal(logits_of(model), before)
    for name, value in weights.items():
        assert torch.equal(getattr(sae, name), value)


def test_new_tokens_are_edited_too(model: Model, sae: SAE) -> None:
    row = 40 * sae.W_dec[5]

    def added(x: Tensor) -> Tensor:
        return x + row * (torch.arange(x.shape[1]) > 0)[:, None] if x.shape[1] > 1 else x + row

    def after(*edits: Edit) -> tuple[int, ...]:
        return generate(model, TEXT, max_new_tokens=12, temperature=0.4, edits=edits)[0].ids

    assert after(steer(sae, 5, 40.0)) == after(Edit(SITE, added)) != after()
    new = after(steer(sae, 5, 40.0, "new"))
    assert new == after(Edit(SITE, lambda x: x + row if x.shape[1] == 1 else x)) != after()


def test_sinks_are_told_by_their_length_and_left_alone(model: Model, sae: SAE) -> None:
    found = torch.ones(1, 6, 24)
    found[0, 0], found[0, 3] = 500.0, 30.0
    assert readable(found, bos=True)[0].tolist() == [False, True, True, False, True, True]
    assert readable(torch.ones(1, 3, 24), bos=False).all()
    assert readable(torch.ones(2, 1, 24), bos=True).all(), "a new token"
    for edit in (clamp(sae, 3, 2.0), steer(sae, 3, 2.0), splice(sae)):
        made = edit.function(found.clone())
        assert torch.equal(made[0, [0, 3]], found[0, [0, 3]])
        assert not torch.equal(made[0, [1, 2, 4, 5]], found[0, [1, 2, 4, 5]])


def test_half_precision_is_rounded_once(sae: SAE) -> None:
    rows = torch.randn(1, 5, 24, generator=torch.Generator().manual_seed(3)).bfloat16()
    edit = clamp(sae, 3, 1.0, bos=False)
    expected = (rows[0].float() + (1 - said(sae, rows[0].float(), 3))[:, None] * sae.W_dec[3]).to(
        rows.dtype
    )
    assert torch.equal(edit.function(rows.clone())[0], expected)


def test_what_one_latent_says(model: Model, sae: SAE) -> None:
    rows = activation(model)[0, 1:]
    assert torch.equal(said(sae, rows, 4), sae.encode(rows)[:, 4])
    jump = replace(sae, k=None, threshold=torch.full((60,), 0.5))
    assert torch.equal(said(jump, rows, 4), jump.encode(rows)[:, 4])


def test_the_control_reads_the_same_and_writes_another_row(model: Model, sae: SAE) -> None:
    control, rows = random_row(sae, 5), activation(model)[0, 1:]
    assert torch.equal(control.encode(rows), sae.encode(rows))
    same = (control.W_dec == sae.W_dec).all(1)
    assert same.nonzero().flatten().tolist() == [i for i in range(60) if i != 5]
    assert float(control.W_dec[5].norm()) == pytest.approx(1, abs=1e-5)
    assert torch.equal(random_row(sae, 5).W_dec, control.W_dec)
    assert not torch.equal(random_row(sae, 5, seed=1).W_dec, control.W_dec)


def test_a_transcoder_can_be_steered_but_not_ablated(model: Model, sae: SAE) -> None:
    other = replace(sae, out=Site.parse("1.mlp_out"))
    places = [Site.parse("1.mlp_out")]
    found, moved = (
        run(model, ids_of(model), read=places, edit=edits)[places[0]]
        for edits in ((), steer(other, 2, 1.5))
    )
    expected = (1.5 * sae.W_dec[2]).expand(found.shape[1] - 1, -1)
    torch.testing.assert_close((moved - found)[0, 1:], expected, rtol=1e-4, atol=1e-5)
    for made in (lambda: clamp(other, 2, 0.0), lambda: splice(other)):
        with pytest.raises(InputError, match=r"transcoder from .* does not write"):
            made()
    with pytest.raises(InputError, match="writes at 2 sites"):
        steer(replace(sae, others=(Site.parse("0.resid_post"),)), 2, 1.0)


def test_what_cannot_be_asked(sae: SAE) -> None:
    for made, told in (
        (lambda: clamp(sae, 60, 0.0), "there is no latent 60; this dictionary has 0 to 59"),
        (lambda: steer(sae, -1, 0.0), "there is no latent -1"),
        (lambda: clamp(sae, 0, -1.0), "a latent cannot say -1"),
        (lambda: clamp(sae, 0, float("nan")), "a latent cannot say nan"),
        (lambda: steer(sae, 0, float("inf")), "an amount of inf is not finite"),
        (lambda: steer(sae, 0, 1.0, []), "should be whole numbers"),
    ):
        with pytest.raises(InputError, match=told):
            made()
