"""What docs/sae-features.md shows: `python docs/examples/sae_features.py > docs/sae-features.md`.

Only the names are a person's; all else is what `workbench sae features` knows of the dictionary.
"""

import sys

import torch

from sae.atlas import Atlas, atlas_of
from sae.features import Example
from sae.rules import median_f1

NAME = "smollm2-135m-12-topk"
CHOSEN = {
    189: "the voice",
    482: "mathematics",
    1549: "the heart",
    3181: "being alone",
    3766: "the full stop of a title: Mr., Dr.",
    3469: "the bracket after `print`",
    4258: "`def`, where a Python function begins",
    3213: "the *to* of having to",
    1412: "*ever* and *never* after *have*",
    1558: "what follows *Problem* or *Question*",
}
BY_CHANCE = {
    1196: "an emoji's first piece",
    803: "*filter* and *criterion*",
    1171: "copying",
    1638: "*over*, *on*, *in* after a verb of motion",
    1351: "",
    4191: "compassion",
    373: "*mem*, where a word begins",
    1413: "rubbing and brushing",
    2905: "",
    4032: "`int`, the type",
    1163: "*serious*, and *integer*",
    58: "*not*, in contrast to what was said",
    3468: "*of*, after *voyage*, *moments*, *cycle*",
    4342: "what is counted, after a numeral",
    3242: "carbon",
}
_EXAMPLES, _BEFORE, _AFTER = 3, 56, 28


def main() -> None:
    atlas = atlas_of(NAME)
    if atlas is None:
        sys.exit(f"first run `workbench sae features {NAME}`")
    draw = torch.Generator().manual_seed(0)
    drawn = torch.randperm(atlas.n_latents, generator=draw)[: len(BY_CHANCE)].tolist()
    assert drawn == list(BY_CHANCE), "the names are of the latents that the command draws"
    lines = [*_head(atlas), *_chosen(atlas), *_drawn(atlas, drawn)]
    sys.stdout.write("\n".join(lines) + "\n")


def _head(atlas: Atlas) -> list[str]:
    known = [rule for rule in atlas.rules if rule is not None and rule.f1 == rule.f1]
    good = sum(rule.f1 >= 0.75 for rule in known)
    by_chance = f", that of as many random directions {atlas.random_f1:.2f}"
    if atlas.random_f1 != atlas.random_f1:  # this atlas was made without them
        by_chance = ""
    text = f"""# Ten features that a reader can name

    workbench sae features {NAME} --latent {",".join(map(str, CHOSEN))}
    python docs/examples/sae_features.py > docs/sae-features.md   # this page

The dictionary is the shipped one of smollm2-135m, after 13 of its 30 blocks; of its latents
({atlas.n_latents:,}) 32 are active on each token. It was read on {atlas.n_rows:,} tokens of
`{atlas.corpus_name}`, text of the model's own. A rule (a list of tokens, of tokens before, or of
pairs) was found by counting where a latent is strongly active (above 0.3 of its largest activation)
in 95 % of the texts. Its F1 is on the other 5 %, on which the dictionary was not trained either: of
the places in the last column about one in twenty. Names are a person's, read off the rules and the
examples; all else on this page is made by the script.

These ten were chosen, by score and for variety, among {good:,} latents whose rule has an F1 of .75
or more. The median of all {len(known):,} rules is {median_f1(atlas.rules):.2f}{by_chance}.
Fifteen latents drawn by chance stand at the end.
"""
    return text.split("\n")


def _chosen(atlas: Atlas) -> list[str]:
    lines = [
        "| latent | name | rule | F1, held out | precision | recall | strongly active, in all |",
        "|---|---|---|---|---|---|---|",
    ]
    for latent, name in CHOSEN.items():
        rule = atlas.rules[latent]
        assert rule is not None
        scores = f"{rule.f1:.2f} | {rule.precision:.2f} | {rule.recall:.2f}"
        lines.append(f"| {latent} | {name} | {_rule(atlas, latent)} | {scores} | {rule.n_strong} |")
    for latent, name in CHOSEN.items():
        page = atlas.feature(latent)
        promoted = ", ".join(_code(atlas.strings[token]) for token, _ in page.promoted[:6])
        lines += ["", f"## {latent}: {name}", "", f"Promotes {promoted}.", "", "```"]
        lines += [f"{one.value:5.1f}  {_cut(atlas, one)}" for one in page.top[:_EXAMPLES]]
        lines.append("```")
    return lines


def _drawn(atlas: Atlas, latents: list[int]) -> list[str]:
    lines = [
        "",
        "## Fifteen drawn by chance",
        "",
        f"{sum(map(bool, BY_CHANCE.values()))} of them have a name.",
        "",
        "| latent | name | rule | F1, held out | strongest example |",
        "|---|---|---|---|---|",
    ]
    for latent in latents:
        rule, page = atlas.rules[latent], atlas.feature(latent)
        score = "" if rule is None else f"{rule.f1:.2f}"
        example = _code(_cut(atlas, page.top[0])) if page.top else "never active"
        name = BY_CHANCE[latent] or "none found"
        lines.append(f"| {latent} | {name} | {_rule(atlas, latent)} | {score} | {example} |")
    return lines


def _rule(atlas: Atlas, latent: int, n: int = 5) -> str:
    rule = atlas.rules[latent]
    if rule is None:
        return "none"
    words = [
        _code("".join(atlas.strings[token] if token >= 0 else "(start)" for token in word))
        for word in rule.words[:n]
    ]
    more = f" and {len(rule.words) - n} more" if len(rule.words) > n else ""
    return f"{rule.sort}: {' '.join(words)}{more}"


def _cut(atlas: Atlas, example: Example) -> str:
    """An example as one short line, the token in question in arrows."""
    text = atlas.text(example).replace("```", "'''")
    at = text.index("»")
    end = text.index("«", at)
    return text[max(0, at - _BEFORE) : end + 1 + _AFTER].strip()


def _code(text: str) -> str:
    """As code in a cell of a table."""
    shown = text.replace("\n", "↵").replace("\t", "⇥").replace("`", "'").replace("|", "¦")
    return f"`{shown}`"


if __name__ == "__main__":
    main()
