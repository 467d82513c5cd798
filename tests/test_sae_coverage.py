"""Coverage and board reconstruction, against loops over every classifier and known ends."""

import json
from argparse import Namespace
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from sae import kernels
from sae.commands.sae_rows import corpus_of
from sae.concepts import concepts
from sae.coverage import SHARES, Coverage, coverage
from sae.kernels import Codes
from sae.samples import parts, samples
from sae.saved import load_sae
from workbench.cache import Store, harvest
from workbench.errors import InputError
from workbench.labels import Labelled, label_source
from workbench.models import load


def coded(dense: Tensor) -> Codes:
    return kernels.above(dense, 0.0)


def drawn(rows: int, latents: int, properties: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sparse codes, and properties that some of the latents know something of."""
    draw = torch.Generator().manual_seed(seed)
    dense = torch.rand(rows, latents, generator=draw)
    dense *= torch.rand(rows, latents, generator=draw) < 0.4
    noise = torch.rand(rows, properties, generator=draw)
    return dense, (dense[:, :properties] > 0.35) ^ (noise < 0.02)


def by_loops(here: Tensor, held: Tensor, there: Tensor, expected: Tensor) -> tuple[Tensor, float]:
    """The definitions, one classifier after the other."""
    scores, read = [], torch.zeros_like(expected)
    for number in range(held.shape[1]):
        best, score = -1.0, 0.0
        for share in SHARES:
            for latent in range(here.shape[1]):
                least = share * here[:, latent].max()
                yes, truth = here[:, latent] > least, held[:, number]
                hits = (yes & truth).sum()
                later = there[:, latent] > least
                if (f1 := float(2 * hits / (yes.sum() + truth.sum()))) > best:
                    best, wanted = f1, expected[:, number]
                    score = float(2 * (later & wanted).sum() / (later.sum() + wanted.sum()))
                if yes.sum() >= 10 and hits >= 0.95 * yes.sum():
                    read[:, number] |= later
        scores.append(score)
    right = [
        float(2 * (said & true).sum() / (said.sum() + true.sum())) if (said | true).any() else 1.0
        for said, true in zip(read, expected, strict=True)
    ]
    return torch.tensor(scores), sum(right) / len(right)


def test_it_is_what_loops_over_all_classifiers_give():
    here, held = drawn(400, 12, 5, seed=0)
    there, expected = drawn(300, 12, 5, seed=1)
    found = coverage(coded(here), held, coded(there), expected)
    scores, reconstruction = by_loops(here, held, there, expected)
    torch.testing.assert_close(found.f1, scores)
    assert found.reconstruction == pytest.approx(reconstruction)
    assert found.latents.tolist() == [0, 1, 2, 3, 4]
    assert {round(share, 1) for share in found.shares.tolist()} <= {0.3, 0.4}


def test_a_latent_for_each_property_covers_all_and_shuffled_labels_give_it_away():
    draw = torch.Generator().manual_seed(0)
    held = torch.rand(2000, 6, generator=draw) < 0.3
    codes = coded(held.float())
    whole = coverage(codes, held, codes, held)
    assert (whole.mean, whole.reconstruction, whole.n_sure) == (1, 1, 6)
    other = held[torch.randperm(2000, generator=draw)]
    none = coverage(codes, other, codes, other)
    assert none.reconstruction < 0.2 and none.n_sure == 0  # right where there is nothing
    assert none.mean < 0.4


def test_a_latent_that_fires_seldom_is_not_taken_for_sure():
    held = torch.zeros(100, 1, dtype=torch.bool)
    held[:20] = True
    nine, ten = torch.zeros(100, 1), torch.zeros(100, 1)
    nine[:9], ten[:10] = 1, 1
    assert coverage(coded(nine), held, coded(nine), held).n_sure == 0
    assert coverage(coded(ten), held, coded(ten), held).n_sure == 1


def test_properties_of_other_rows_and_of_none_are_refused():
    dense, held = drawn(50, 4, 2, seed=0)
    with pytest.raises(InputError, match="40 rows have properties, 50 codes"):
        coverage(coded(dense), held[:40], coded(dense), held)
    never = held.clone()
    never[:, 1] = False
    with pytest.raises(InputError, match="no row has 1 of the properties"):
        coverage(coded(dense), held, coded(dense), never)


def _games(n: int) -> Labelled:
    model, source = load("othello-6x6"), label_source("othello-mine")
    assert source.corpus is not None
    return source.label(source.corpus(model.vocabulary, n, 3), model.vocabulary)


def test_the_shipped_dictionary_reads_the_board(tmp_path):
    """Games that it was not trained on, beside random directions and shuffled labels."""
    model, labelled = load("othello-6x6"), _games(500)
    sae = load_sae("othello-6x6-3-topk", model)
    rows = samples(harvest(model, labelled.corpus, sae.site, Store(tmp_path))[sae.site],
                   held_out=0.3)  # fmt: skip
    found = concepts(sae, rows, labelled, among=("mine", "theirs"), probes=False)
    ours: Coverage = found.coverages["SAE"]
    assert ours.reconstruction > 0.5 and ours.mean > found.always
    assert ours.reconstruction > 2 * found.coverages["untrained SAE"].reconstruction
    assert found.coverages["SAE, shuffled labels"].reconstruction < 0.1
    assert found.n + found.n_tested == labelled.n_samples
    with pytest.raises(InputError, match="mind is no class of othello-mine"):
        concepts(sae, rows, labelled, among=("mind",))
    with pytest.raises(InputError, match="give labels of the same corpus"):
        concepts(sae, rows, _games(20))


def test_on_the_command_line(command: Callable[..., str]):
    told = json.loads(
        command(
            "sae", "evaluate", "othello-6x6-3-topk", "--labels", "othello-legal", "--among",
            "legal", "--max-tokens", 6_200, "--json",
        )
    )  # fmt: skip
    assert len(told["properties"]) + told["left_out"] == 32
    assert told["coverages"]["SAE"]["n_sure"] > 0
    assert np.mean(told["accuracies"]["SAE"]["5"]) > np.mean(
        told["accuracies"]["SAE, shuffled labels"]["5"]
    )


def test_games_are_drawn_by_the_number_of_tokens_and_held_out_whole():
    model = load("othello-6x6")
    asked = Namespace(corpus="othello-mine", max_tokens=3_100)
    corpus = corpus_of(asked, model)
    assert (len(corpus), corpus.n_ctx, corpus.bos_id) == (100, 31, None)
    _, aside = parts(corpus)
    games = corpus.documents[aside & (corpus.documents >= 0)]
    assert len(np.unique(games)) == 5
    assert aside.sum() == np.isin(corpus.documents, games).sum()
    with pytest.raises(InputError, match="--max-tokens 40 is less than two contexts"):
        corpus_of(Namespace(corpus="othello-mine", max_tokens=40), model)
