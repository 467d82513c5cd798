"""The files of the SAE page, and the figures that it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashboards.ablation_export import TOPS, rows, token_figure
from dashboards.exports import Export, Made, Table
from dashboards.sae_edits import ABLATE, ADD, EditView
from dashboards.sae_view import CAP, Opened, Reading, columns

if TYPE_CHECKING:  # Plotly loads with the page, not before
    from sae.features import Feature
    from workbench.figures import Figure

LATENTS = """for latent in {latents}:
    print(latent, atlas.rule(latent), f"density {{atlas.density[latent]:.2%}}")"""
FEATURE = """page = atlas.feature({latent})
for one in page.top:
    print(f"{{one.value:.2f}}", atlas.text(one))
for token, logit in page.promoted:
    print(f"{{logit:+.2f}} {{atlas.strings[token]!r}}")"""
READ_NAMES = ("torch:cat", "sae.editing:readable", "workbench:run", "workbench.models:from_ids")
READ = """prompt = from_ids(model.vocabulary, ids[0].tolist(), bos={bos})
read = run(model, ids[:1], read=list(sae.reads)).activations
found = cat([read[site] for site in sae.reads], -1)
here = readable(found, bos={bos})[0]
acts = sae.encode(found[0].float()) * here[:, None]  # BOS and sinks are not asked
for string, said in zip(strings, acts):
    values, latents = said.topk(5)
    both = zip(latents.tolist(), values.tolist())
    print(repr(string), *(f"{{latent}}: {{value:.2f}}" for latent, value in both))"""
EDIT = """edit = {edit}
drawn = dict(seed={seed}, temperature={temperature}, max_new_tokens={new_tokens})
texts = [generate(model, prompt, edits=edits, **drawn)[0].text for edits in ([], [edit])]
print(*map(repr, texts), sep="\\n")
change = changed(model, ids[:1], edit)"""


@dataclass(frozen=True)
class Shown:
    """What is on the page: what was found in the table, in a prompt, a latent, what was done."""

    view: Opened
    latents: Sequence[int]
    latent: int
    feature: Feature | None
    reading: Reading | None
    edit: EditView | None


def densities(view: Opened) -> Figure:
    """How often latents are active."""
    from sae.figures import density_histogram

    assert view.atlas is not None, "there is nothing to draw without one"
    return density_histogram(view.atlas.density.numpy(), title="Density")


def inside(page: Feature) -> dict[str, Figure]:
    """How much a latent says, and where in a context."""
    from sae.figures import positions
    from workbench.figures.histogram import activations

    histogram = page.histogram.numpy()
    told = f"{int(histogram.sum()):,} activations, largest {page.largest:.2f}"
    return {
        "activations": activations(page.edges.numpy(), histogram, title=told),
        "positions": positions(
            page.positions.numpy(), page.starts.numpy(), title="Where in a context"
        ),
    }


def sae_export(shown: Shown, made: Made) -> Export:
    """All that is on the page."""
    view = shown.view
    title = f"SAE {view.name}, latent {shown.latent}"
    notes = [view.about, view.counted, made.note]
    if shown.edit is not None:
        edit = shown.edit
        notes += [edit.about, edit.sum, f"Plain: {edit.plain.text!r}", f"{edit.edited.text!r}"]
    return Export(
        file=f"{made.file} {view.name} {shown.latent}",
        title=title,
        note=". ".join(filter(None, notes)),
        tables=_tables(shown),
        figures=lambda: _figures(shown),
        script=made.script(title, *_script(shown)),
    )


def _tables(shown: Shown) -> dict[str, Callable[[], Table]]:
    tables: dict[str, Callable[[], Table]] = {}
    atlas, page, found, edit = shown.view.atlas, shown.feature, shown.reading, shown.edit
    if atlas is not None and shown.latents:
        tables["latents"] = lambda: _listed(columns(atlas, shown.latents[:CAP]))
    if atlas is not None and page is not None:
        examples = [*page.top, *(one for band in page.bands for one in band)]
        tables["examples"] = lambda: [
            ("activation", "text"),
            *((f"{one.value:.4g}", atlas.text(one)) for one in examples),
        ]
        both = [(sign, *one) for sign, some in (("promoted", page.promoted),
                ("suppressed", page.suppressed)) for one in some]  # fmt: skip
        tables["logits"] = lambda: [
            ("which", "token", "logit"),
            *((which, atlas.strings[token], f"{logit:.4g}") for which, token, logit in both),
        ]
    if found is not None:
        tables["prompt"] = lambda: _active(found)
    if edit is not None:
        tables["next tokens"] = lambda: rows(edit.next)
        tables["texts"] = lambda: [
            ("which", "text"), ("plain", edit.plain.text), ("edited", edit.edited.text),
        ]  # fmt: skip
    return tables


def _listed(table: dict[str, list[object]]) -> Table:
    """The table without its bars."""
    names = [name for name in table if name != "activations"]
    return [names, *zip(*(table[name] for name in names), strict=True)]


def _active(found: Reading) -> Table:
    """Every latent that is active at a token."""
    yield ("position", "token", "latent", "activation")
    for pos, string in enumerate(found.tokens.strings):
        for latent in found.loudest(pos, n=found.acts.shape[1]):
            yield (pos, string, latent, f"{found.acts[pos, latent]:.6g}")


def _figures(shown: Shown) -> list[Figure]:
    from sae.figures import prompt_map
    from workbench.figures import token_table

    figures, atlas, page, found = [], shown.view.atlas, shown.feature, shown.reading
    if atlas is not None:
        figures.append(densities(shown.view))
    if page is not None and atlas is not None:
        figures += inside(page).values()
        cells = {
            "activation": [f"{one.value:.2f}" for one in page.top],
            "text": [atlas.text(one) for one in page.top],
        }
        figures.append(token_table(cells, title=f"Strongest examples of latent {shown.latent}"))
        words = {
            name: [f"{atlas.strings[token]!r} {logit:+.2f}" for token, logit in some]
            for name, some in (("promoted", page.promoted), ("suppressed", page.suppressed))
        }
        figures.append(token_table(words, title="Logits of its decoder row"))
    if found is not None and (latents := found.loudest(None)):
        names = [str(latent) for latent in latents]
        figures.append(
            prompt_map(
                found.acts[:, latents], found.tokens.labels, names, title="Loudest in the prompt"
            )
        )
    if shown.edit is not None:
        figures.append(token_figure(shown.edit.next, f"Next token: {shown.edit.about}"))
    return figures


def _script(shown: Shown) -> tuple[Sequence[str], Sequence[str]]:
    """What the script imports, and its lines."""
    view, found, edit = shown.view, shown.reading, shown.edit
    names, code = ["sae.saved:load_sae"], [f"sae = load_sae({view.name!r}, model)"]
    if view.atlas is not None:
        names.append("sae.atlas:atlas_of")
        code += [
            f"atlas = atlas_of({view.name!r})",
            LATENTS.format(latents=[*shown.latents[:10]]),
            FEATURE.format(latent=shown.latent),
        ]
    if found is not None:
        names += READ_NAMES
        code.append(READ.format(bos=found.tokens.bos))
    if edit is not None:
        names += ["workbench.generation:generate", "workbench.interventions:changed"]
        push, sort = edit.push, "steer" if edit.push.how == ADD else "clamp"
        names += [f"sae.editing:{sort}", "workbench.metrics:top_tokens"]
        length = 0.0 if push.how == ABLATE else edit.length
        bos = edit.plain.prompt.bos
        made = f"{sort}(sae, {push.latent}, {length!r}, bos={bos})"
        code += [
            EDIT.format(
                edit=made, seed=push.seed, temperature=push.temperature, new_tokens=push.new_tokens
            ),
            TOPS,
        ]
    return names, code
