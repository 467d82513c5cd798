"""The shipped dictionary of smollm2-135m's middle, on text of a few lines."""

import json
from collections.abc import Callable
from dataclasses import replace
from statistics import mean

import pytest
import torch

from dashboards import tour
from probes.text import SHIPPED
from sae.atlas import atlas_of
from sae.dictionary import SAE, check_sae
from sae.saved import load_sae
from workbench.attention import patterns
from workbench.errors import InputError
from workbench.hooks import Edit, run
from workbench.metrics import mean_loss
from workbench.models import Model
from workbench.sites import Head

pytestmark = pytest.mark.real_model

TEXT = (
    "The old lighthouse stood at the edge of the village. Every evening the keeper climbed the "
    "stairs, lit the lamp and wrote a few lines in his book. When the storm came, he did not leave "
    "his post, and in the morning the fishermen thanked him for their lives."
)
NAMED = {3242: (" carbon", "Plants take up carbon from the air"),
         1163: (" serious", "This is a serious question about"),
         4032: (" int", "public static int count of the")}  # fmt: skip


@pytest.fixture(scope="module")
def sae(smollm2: Model) -> SAE:
    return load_sae("smollm2-135m-12-topk", smollm2)


def test_prose_is_reconstructed(sae: SAE, smollm2: Model):
    """In float32, though it was trained on bfloat16: FVU .15 on held-out text of its own."""
    ids = smollm2.tokenize(TEXT).tensor()
    x = run(smollm2, ids, read=sae.site).activations[sae.site][0, 1:]
    assert sae.codes(x).offsets.diff().tolist() == [32] * len(x)
    fvu = (sae(x) - x).square().sum() / (x - x.mean(0)).square().sum()
    assert float(fvu) < 0.25

    def spliced(found: torch.Tensor) -> torch.Tensor:
        found[:, 1:] = sae(found[:, 1:])  # BOS is a sink
        return found

    def ablated(found: torch.Tensor) -> torch.Tensor:
        found[:, 1:] = x.mean(0)
        return found

    losses = []
    for edit in ((), Edit(sae.site, spliced), Edit(sae.site, ablated)):
        logits = run(smollm2, ids, edit=edit).logits
        assert logits is not None
        losses.append(float(mean_loss(logits, ids)))
    clean, made, nothing = losses
    assert (nothing - made) / (nothing - clean) > 0.9


@pytest.mark.parametrize("latent", NAMED)
def test_latents_that_have_a_name(latent: int, sae: SAE, smollm2: Model):
    word, text = NAMED[latent]
    tokens = smollm2.tokenize(text)
    x = run(smollm2, tokens.tensor(), read=sae.site).activations[sae.site][0]
    said = sae.encode(x[1:])[:, latent]
    assert tokens.strings[1 + int(said.argmax())] == word
    assert float(said.max()) > 3 * float(said.sort().values[-2])


def test_it_is_refused_for_another_processing(sae: SAE, smollm2: Model):
    assert sae.model is not None
    with pytest.raises(InputError, match="of another model"):
        check_sae(replace(sae, model={**sae.model, "rounded": "0"}), smollm2)
    with pytest.raises(InputError, match="of another model"):
        check_sae(replace(sae, model={**sae.model, "processing": "folded"}), smollm2)


def test_word_classes_are_read_by_a_few_latents(smollm2: Model, command: Callable[..., str]):
    """In sentences of other making than its corpus, beside random directions and chance."""
    name = "smollm2-135m-12-topk"
    told = json.loads(
        command("sae", "evaluate", name, "--labels", SHIPPED["word-classes"], "--json")
    )
    scores = {name: mean(by_k["5"]) for name, by_k in told["accuracies"].items()}
    assert scores["SAE"] > 0.8 and scores["SAE"] > scores["untrained SAE"] + 0.1
    assert scores["SAE, shuffled labels"] < 0.65
    assert mean(told["dense"]["all of the activation"]) > 0.9


def test_what_the_tour_says(sae: SAE, smollm2: Model):
    """The head that looks at the country, and what is said there on the way."""
    asked = tour.STEPS[0]
    ids = smollm2.tokenize(asked.settings["prompt"]).tensor()
    weights = patterns(smollm2, ids).of(Head.parse(asked.place["head"]))[0]
    country = int(tour.STEPS[-1].place["token"])
    assert smollm2.vocabulary.string(int(ids[0, country])) == " France"
    assert float(weights[-1, country]) == pytest.approx(0.95, abs=0.01)
    x = run(smollm2, ids, read=sae.site).activations[sae.site][0]
    strongest = sae.encode(x)[country].topk(4).indices.tolist()
    atlas = atlas_of("smollm2-135m-12-topk")
    assert atlas is not None
    rules = [atlas.rule(latent) for latent in strongest]
    assert sum("' France'" in rule and "' French'" in rule for rule in rules) == 2
