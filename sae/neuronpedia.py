"""Features as Neuronpedia's upload JSON: files as SAEDashboard 0.8.0 writes them.

Its `neuronpedia_runner` leaves `batch-N.json` (a `NeuronpediaDashboardBatch`, 128 features in
each) and `skipped_indexes.json`, the latents that are never active. What an atlas does not hold
stays empty: alignment with neurons, correlations, the histogram of logits.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae.atlas import Atlas
from sae.features import BANDS, Example, Feature
from workbench.errors import InputError
from workbench.fetching import appearing

_BATCH = 128


@dataclass(frozen=True)
class Source:
    """What a dictionary is called there: the model's id, the layer, the set of dictionaries."""

    model_id: str
    layer: int
    sae_set: str


def write_neuronpedia(
    atlas: Atlas, folder: Path, source: Source, latents: Sequence[int] | None = None
) -> int:
    """Write a new folder, whole or not at all; says how many features are in it.

    Raises `InputError` for one that is there already, and where the disk refuses.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already; give another folder")
    wanted = range(atlas.n_latents) if latents is None else latents
    active = [latent for latent in wanted if int(atlas.counts[latent])]
    skipped = sorted(set(range(atlas.n_latents)) - set(active))
    about = {"model_id": source.model_id, "sae_set": source.sae_set}
    try:
        with appearing(folder) as beside:
            beside.mkdir(parents=True)
            for number, batch in enumerate(_batches(atlas, active)):
                told = {**about, "layer": source.layer, "sae_id_suffix": None, "features": batch}
                (beside / f"batch-{number}.json").write_text(json.dumps(told), encoding="utf-8")
            left = {
                **about,
                "layer": str(source.layer),
                "log_sparsity": None,
                "skipped_indexes": skipped,
            }
            (beside / "skipped_indexes.json").write_text(json.dumps(left), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}") from error
    return len(active)


def _batches(atlas: Atlas, latents: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, len(latents), _BATCH):
        yield [upload(atlas, latent) for latent in latents[first : first + _BATCH]]


def upload(atlas: Atlas, latent: int) -> dict[str, Any]:
    """One latent as a `NeuronpediaDashboardFeature`."""
    page = atlas.feature(latent)
    middles = (page.edges[:-1] + page.edges[1:]) / 2
    n = page.density * atlas.n_rows
    bands = enumerate(page.bands)
    return {
        "feature_index": latent,
        "neuron_alignment_indices": [],
        "neuron_alignment_values": [],
        "neuron_alignment_l1": [],
        "correlated_neurons_indices": [],
        "correlated_neurons_l1": [],
        "correlated_neurons_pearson": [],
        "correlated_features_indices": [],
        "correlated_features_l1": [],
        "correlated_features_pearson": [],
        **_logits(atlas, "neg", page.suppressed),
        **_logits(atlas, "pos", page.promoted),
        "frac_nonzero": page.density,
        "freq_hist_data_bar_values": _rounded(middles.tolist()),
        "freq_hist_data_bar_heights": page.histogram.tolist(),
        "logits_hist_data_bar_heights": [],
        "logits_hist_data_bar_values": [],
        "n_prompts_total": atlas.n_rows // atlas.n_ctx,
        "n_tokens_in_prompt": atlas.n_ctx,
        "dataset": atlas.corpus_name,
        "decoder_weights_dist": [],
        "activations": [
            *(_activation(atlas, one, -1.0, page.largest, -1.0) for one in page.top),
            *(
                _activation(atlas, one, *_band(page, number), _share(page, number, n))
                for number, some in bands
                for one in some
            ),
        ],
        "vector": [],
    }


def _logits(atlas: Atlas, sign: str, pairs: Sequence[tuple[int, float]]) -> dict[str, Any]:
    return {
        f"{sign}_str": [atlas.strings[token] for token, _ in pairs],
        f"{sign}_values": _rounded([value for _, value in pairs]),
    }


def _band(page: Feature, number: int) -> tuple[float, float]:
    """From where to where; bands begin with the strongest."""
    return (
        page.largest * (BANDS - 1 - number) / BANDS,
        page.largest * (BANDS - number) / BANDS,
    )


def _share(page: Feature, number: int, n: float) -> float:
    """Of its activations, by the histogram, whose bins are an even part of a band."""
    each = len(page.histogram) // BANDS
    first = (BANDS - 1 - number) * each
    return round(int(page.histogram[first : first + each].sum()) / n, 4)


def _activation(
    atlas: Atlas, one: Example, low: float, high: float, share: float
) -> dict[str, Any]:
    return {
        "bin_min": low,
        "bin_max": high,
        "bin_contains": share,
        "tokens": [atlas.strings[token] for token in one.ids.tolist()],
        "values": _rounded(one.values.tolist()),
        "qualifying_token_index": one.at,
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in values]
