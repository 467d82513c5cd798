"""A dictionary from activations on disk, and from text: our run beside SAELens' own runner.

Both start from the same tokens, model and widths, take the same number of steps, and end with a
folder; ours counts its passes for mean, scale and sinks, its checkpoints and its log.
"""

# pyright: reportMissingImports=false

import io
import json
import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, cast

import datasets
import torch
from datasets import Dataset
from sae_lens import LanguageModelSAERunnerConfig, LanguageModelSAETrainingRunner, LoggingConfig

from benchmarks import saelens
from benchmarks.bench import Bench
from benchmarks.ratios import Row, once, ratio
from benchmarks.sae_peers import PEERS, PENALTY, RATE, ROWS, K
from benchmarks.small import VOCABULARY
from sae.dictionary import SAE
from sae.recipe import Recipe
from sae.run import train_into
from sae.samples import samples
from sae.saved import load_sae
from workbench.cache import Harvest, Store, harvest
from workbench.corpus import from_ids, open_corpus
from workbench.models import Model

OURS, PEER = "workbench", saelens.NAME
N_CTX, BATCH = 128, 16
TARGET = ">= 1.3"


def rows(bench: Bench) -> list[Row]:
    """From stored rows TopK and the kinds that autograd trains, from text TopK."""
    kinds = ("topk",) if bench.quick else ("topk", "standard", "jumprelu", "gated")
    with tempfile.TemporaryDirectory() as name:
        run = _Run(bench, Path(name))
        found = [row for kind in kinds for row in _race(bench, run, "stored activations", kind)]
        return found + _race(bench, run, "text", "topk")


def _race(bench: Bench, run: "_Run", source: str, kind: str) -> list[Row]:
    case = f"{source} -> {kind} SAE, {run.width} -> {16 * run.width}, {run.steps} steps"
    sources = {
        "stored activations": {OURS: run.stored, PEER: run.their_stored},
        "text": {OURS: run.text, PEER: run.their_text},
    }
    contestants = {
        name: partial(run.keep, name, make, kind) for name, make in sources[source].items()
    }
    seconds = bench.race(contestants, rounds=1 if bench.quick else 2, before=run.clear)
    found = [ratio(case, seconds, PEER, OURS, TARGET)]
    if kind == "topk":  # the others begin far from their data, each at another place
        error = {name: run.error(sae) for name, sae in run.last.items()}
        found.append(once(case, f"{PEER} / {OURS}, FVU", error[PEER], error[OURS], "FVU"))
    return found


class _Run:
    """Model, text and rows of both, and what is made of them."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.model: Model = bench.trees.ours
        self.bridge = bench.trees.bridge
        self.width = self.model.architecture.d_model
        layer = bench.trees.n_layers // 2
        self.site, self.hook = f"{layer}.resid_post", f"blocks.{layer}.hook_resid_post"
        contexts, self.steps = (32, 2) if bench.quick else (512, 64)
        self.last: dict[str, Any] = {}
        self.made, self.kept, self.file = folder / "made", folder / "kept", folder / "text.jsonl"
        draw = random.Random(0)
        self.texts = [
            " ".join(f"w{draw.randrange(1, VOCABULARY)}" for _ in range(N_CTX - 1))
            for _ in range(contexts)
        ]
        lines = [json.dumps({"text": text}) for text in self.texts]
        self.file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        words = [[int(word[1:]) for word in text.split()] for text in self.texts]
        self.tokens = torch.tensor([[0, *row] for row in words])  # w0 begins a text
        corpus = from_ids("random words", self.tokens)
        self.harvest = harvest(self.model, corpus, self.site, Store(folder / "ours"))[self.site]
        saelens.cache(self.kept, self.bridge, self.hook, self.tokens, BATCH, self.width)
        self.rows = self.harvest.contexts(0, contexts // 8)[:, 1:].flatten(0, 1).float()

    def keep(self, name: str, make: Callable[[str], Any], kind: str) -> None:
        self.last[name] = make(kind)

    def clear(self) -> None:
        shutil.rmtree(self.made, ignore_errors=True)

    def error(self, sae: Any) -> float:
        """FVU on some of the rows."""
        with torch.no_grad():
            left = (self.rows - sae(self.rows)).square().sum()
        return float(left / (self.rows - self.rows.mean(0)).square().sum())

    def stored(self, kind: str) -> SAE:
        return self._trained(self.harvest, kind)

    def text(self, kind: str) -> SAE:
        corpus = open_corpus(self.file, self.model, n_ctx=N_CTX)
        store = Store(self.made / "store")
        return self._trained(harvest(self.model, corpus, self.site, store)[self.site], kind)

    def _trained(self, found: Harvest, kind: str) -> SAE:
        folder, width = self.made / "ours", 16 * self.width
        numbers = {"steps": self.steps, "batch": ROWS, "rate": RATE}
        recipe = Recipe(kind, width, K, PENALTY, **numbers, warmup=0, decay=0.0)  # as theirs
        for _ in train_into(folder, samples(found), self.model, [recipe], device="cpu"):
            pass
        return load_sae(folder / kind, self.model)

    def their_stored(self, kind: str) -> Any:
        ids = Dataset.from_dict({"tokens": self.tokens.tolist()})
        kept = {"use_cached_activations": True, "cached_activations_path": str(self.kept)}
        return self._their_run(kind, ids, is_dataset_tokenized=True, **kept)

    def their_text(self, kind: str) -> Any:
        data = Dataset.from_dict({"text": self.texts})
        return self._their_run(kind, data, is_dataset_tokenized=False)

    def _their_run(self, kind: str, data: Dataset, **how: Any) -> Any:
        """Loads that refill half of a buffer of half the rows, as fast as it can be told to be."""
        half = max(2, len(self.texts) // 2)
        _, made, own = PEERS[kind]
        config = LanguageModelSAERunnerConfig(
            sae=made(d_in=self.width, d_sae=16 * self.width, **own),
            model_name="handed in",
            hook_name=self.hook,
            dataset_path="handed in",
            streaming=False,
            context_size=N_CTX,
            training_tokens=self.steps * ROWS,
            train_batch_size_tokens=ROWS,
            n_batches_in_buffer=half,
            store_batch_size_prompts=BATCH if "use_cached_activations" not in how else half // 2,
            lr=RATE,
            device="cpu",
            n_checkpoints=0,
            checkpoint_path=None,
            output_path=str(self.made / "theirs"),
            logger=LoggingConfig(log_to_wandb=False),
            verbose=False,
            **how,
        )
        datasets.disable_progress_bars()
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):  # its progress bars
            runner = LanguageModelSAETrainingRunner(
                config, override_dataset=data, override_model=cast(Any, self.bridge)
            )
            return runner.run()
