"""The files of the Neurons page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dashboards.exports import Export, Made
from dashboards.neurons_view import HELD_OUT, Layer, Text

if TYPE_CHECKING:  # Plotly loads with the page, not before
    from dashboards.neurons_heads import Shown
    from dashboards.neurons_pair import Pair
    from workbench.figures import Figure
    from workbench.labs.neurons import Example, Neuron

TABLE = """told = table(found)
for neuron in told.kurtosis.nan_to_num(-3).argsort(descending=True)[:10].tolist():
    token = model.vocabulary.string(int(told.token[neuron]))
    kurtosis, share = told.kurtosis[neuron], told.share[neuron]
    print(f"{neuron}: kurtosis {kurtosis:.1f}, {share:.0%} at {token!r}")"""
ONE = """page = neuron_page(found, model, {neuron})
for one in page.top:
    text = [model.vocabulary.string(token) for token in one.ids.tolist()]
    print(f"{{one.value:.3f}}", *text[: one.at], "»", *text[one.at :], sep="")
for token, logit in page.promoted:
    print(f"{{logit:+.3f}} {{model.vocabulary.string(token)!r}}")"""
HEADS = """scores = copying_scores(model)  # [layer, head]
random = random_copying(model)
print(scores, random.std())"""


def histogram(page: Neuron) -> Figure:
    """How often the neuron says how much."""
    from workbench.figures.histogram import activations

    counts = page.histogram.numpy()
    title = f"Neuron {page.neuron}: {int(counts.sum()):,} activations"
    return activations(page.edges.numpy(), counts, title=title)


def neuron_export(view: Layer, page: Neuron, made: Made) -> Export:
    """The layer's table, one neuron's examples and logits, its histogram."""
    title = f"{view.model.name}, layer {view.found.layer}, neuron {page.neuron}"
    return Export(
        file=f"{made.file} {view.found.layer}.{page.neuron}",
        title=title,
        note=f"{made.note}. {view.about}",
        tables={
            "neurons": lambda: _table(view),
            "examples": lambda: _examples(view, page),
            "logits": lambda: _logits(view, page),
        },
        figures=lambda: [histogram(page)],
        script=made.script(
            title,
            [
                *_names(view.text),
                *(f"workbench.labs.neurons:{n}" for n in ("neuron_page", "read_neurons", "table")),
            ],
            [
                f"corpus = {_corpus(view.text, 'model')}",
                f"found = read_neurons(model, {view.found.layer}, corpus)",
                TABLE,
                ONE.format(neuron=page.neuron),
            ],
        ),
    )


def pair_export(pair: Pair, figures: Sequence[Figure], made: Made) -> Export:
    """Both models' tables and how their neurons are spread."""
    views = list(pair.layers.values())
    title = " beside ".join(view.model.name for view in views)
    loads = [f"load({view.model.name!r})" for view in views]
    return Export(
        file=f"neurons {title}",
        title=title,
        note="; ".join(f"{view.model.name}: {view.standing}" for view in views),
        tables={
            f"{side} {view.model.name}": (lambda view=view: _table(view))
            for side, view in pair.layers.items()
        },
        figures=lambda: figures,
        script=made.script(
            title,
            ["workbench:load", *_names(views[0].text), "workbench.labs.neurons:standing"],
            [
                f"for model in ({', '.join(loads)}):",
                f"    print(model.name, standing(model, {_corpus(views[0].text, 'model')}))",
            ],
        ),
    )


def heads_export(shown: Shown, made: Made) -> Export:
    """Copying scores, eigenvalues and skip trigrams."""
    title = "Heads from their weights"
    names = ["workbench.circuits:copying_scores", "workbench.labs.framework:random_copying"]
    return Export(
        file=f"{made.file} heads",
        title=title,
        note=f"{made.note}. {shown.told}",
        tables=dict(shown.tables),
        figures=lambda: list(shown.figures.values()),
        script=made.script(title, names, [HEADS]),
    )


def _names(text: Text) -> list[str]:
    if text.name == HELD_OUT:
        return ["workbench.labs.text:sample"]
    return ["workbench.corpus:open_corpus"]


def _corpus(text: Text, model: str) -> str:
    """The line that opens the text."""
    n_ctx = f"min(128, {model}.architecture.n_ctx)"
    if text.name == HELD_OUT:
        return f"sample({model}.vocabulary, {n_ctx}, most={text.contexts})"
    return (
        f"open_corpus({text.name!r}, {model}, n_ctx={n_ctx}, max_tokens={text.contexts} * {n_ctx})"
    )


def _table(view: Layer) -> Iterator[Sequence[object]]:
    columns = view.columns(range(len(view.told)))
    columns["commonest"] = [view.string(int(token)) for token in view.told.token]
    yield list(columns)
    yield from zip(*columns.values(), strict=True)


def _examples(view: Layer, page: Neuron) -> Iterator[Sequence[object]]:
    yield "end", "activation", "context", "position", "token", "text"
    for end, examples in (("strongest", page.top), ("lowest", page.lowest)):
        for one in examples:
            token = view.string(int(one.ids[one.at]))
            yield end, one.value, one.context, one.pos, token, _text(view, one)


def _text(view: Layer, one: Example) -> str:
    """An example with a mark before the token in question."""
    strings = [view.string(int(token)) for token in one.ids]
    return "".join([*strings[: one.at], "»", *strings[one.at :]])


def _logits(view: Layer, page: Neuron) -> Iterator[Sequence[object]]:
    yield "which", "token", "logit"
    for which, some in (("raised", page.promoted), ("lowered", page.suppressed)):
        for token, logit in some:
            yield which, view.string(token), logit
