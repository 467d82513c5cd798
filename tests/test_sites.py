"""Sites: names read and written, wishes expanded, mistakes named."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.sites import KINDS, Head, Site, expand

KIND = st.sampled_from(sorted(KINDS.values(), key=lambda kind: kind.name))
LAYER = st.integers(0, 200)
AVAILABLE = {
    Site("embed"): 0,
    **{
        Site(name, layer): heads
        for layer in range(3)
        for name, heads in (("resid_pre", 0), ("k", 2), ("z", 4), ("resid_post", 0))
    },
    Site("logits"): 0,
}


@st.composite
def any_site(draw: st.DrawFn) -> Site:
    kind = draw(KIND)
    headed = kind.layered and kind.head_axis is not None and draw(st.booleans())
    return Site(kind.name, draw(LAYER) if kind.layered else None, draw(LAYER) if headed else None)


def texts(*sites: Site) -> list[str]:
    return [str(site) for site in sites]


@given(any_site())
def test_short_and_long_names_read_back(site: Site) -> None:
    assert Site.parse(str(site)) == site
    assert Site.parse(site.long) == site.whole


@given(LAYER, LAYER)
def test_heads_read_back(layer: int, head: int) -> None:
    written = Head(layer, head)
    for text in (str(written), str(written).lower(), f"{layer}.{head}", f" {written} "):
        assert Head.parse(text) == written


def test_names_are_unique_and_are_transformer_lens() -> None:
    assert len({kind.long for kind in KINDS.values()}) == len(KINDS)
    assert Site("pattern", 5).long == "blocks.5.attn.hook_pattern"
    assert Site("resid_post", 5).long == "blocks.5.hook_resid_post"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("3.resid_pots", r"unknown site 'resid_pots'; did you mean resid_post"),
        ("3.qqqqqqqqq", r"unknown site 'qqqqqqqqq'; known: embed, "),
        ("resid_post", r"needs a layer, for example 3\.resid_post"),
        ("3.logits", r"'logits' has no layers; write it without 3\."),
        ("L3H1.resid_post", r"'resid_post' has no heads; its axes are 'batch pos d_model'"),
        ("-1.resid_post", r"should read LAYER\.NAME, for example 3\.resid_post"),
        ("blocks.3.attn.hook_patern", r"did you mean blocks\.\{layer\}\.attn\.hook_pattern"),
        ("L3H1.logits", r"'logits' has no layers"),
        ("", r"unknown site ''"),
        ("3.", r"unknown site ''"),
    ],
)
def test_a_wrong_name_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Site.parse(text)


@pytest.mark.parametrize("text", ["", "L5", "H1", "5", "L5H", "L-1H2", "5.1.2", "LxHy"])
def test_a_wrong_head_is_told(text: str) -> None:
    with pytest.raises(InputError, match=r"should read L5H1 or 5\.1"):
        Head.parse(text)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("1.z", ["1.z"]),
        ("logits", ["logits"]),
        ("blocks.1.attn.hook_z", ["1.z"]),
        ("L1H3.z", ["L1H3.z"]),
        ("*.z", ["0.z", "1.z", "2.z"]),
        ("blocks.*.hook_resid_post", ["0.resid_post", "1.resid_post", "2.resid_post"]),
        ("1.resid_*", ["1.resid_pre", "1.resid_post"]),
        ("[02].k", ["0.k", "2.k"]),
        ("0-1.k", ["0.k", "1.k"]),
        ("2-2.k", ["2.k"]),
        (Site("k", 1), ["1.k"]),
        (lambda site: site.layer is None, ["embed", "logits"]),
        (["2.z", "*.z"], ["2.z", "0.z", "1.z"]),  # as asked for, each once
        (["1.z", "L1H0.z", Site("embed")], ["1.z", "L1H0.z", "embed"]),
        ((), []),
    ],
)
def test_wishes_expand(wanted, found: list[str]) -> None:
    assert texts(*expand(wanted, AVAILABLE)) == found


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("1.zz", r"unknown site 'zz'"),
        ("1.pattern", r"no site '1\.pattern'; it has embed, 0\.resid_pre, .*logits"),
        ("pos_embed", r"no site 'pos_embed'"),
        ("3.z", r"3\.z is out of range: layers run from 0 to 2"),
        ("L1H4.z", r"L1H4\.z is out of range: heads run from 0 to 3"),
        ("L1H2.k", r"L1H2\.k is out of range: heads run from 0 to 1"),  # grouped queries
        ("*.resid_pots", r"glob '\*\.resid_pots' matches no site; did you mean \*\.resid_post"),
        ("[57].z", r"glob '\[57\]\.z' matches no site"),
        ("2-0.z", r"range '2-0\.z' runs backwards; write 0-2"),
        ("1-5.z", r"3\.z is out of range"),
        ("0-1.patern", r"did you mean pattern"),
        (Site("z", 9), r"9\.z is out of range"),
        (Site("z", 0, 9), r"L0H9\.z is out of range"),
        (lambda site: site.layer == 7, r"predicate .* matches none of the model's 14 sites"),
        (["0.z", "1.zz", "*.nil", "9.k"], r"'zz'.*; .*'\*\.nil'.*; .*9\.k is out of range"),
    ],
)
def test_a_wish_that_matches_nothing_is_told(wanted, told: str) -> None:
    with pytest.raises(InputError, match=told):
        expand(wanted, AVAILABLE)


@pytest.mark.parametrize("wanted", ["*.pattern", "0.resid_pre"])
def test_without_layers_that_is_what_is_told(wanted: str) -> None:
    told = f"has no layers, and so no {re.escape(wanted)}; it has embed, logits: choose another"
    with pytest.raises(InputError, match=told):
        expand(wanted, {Site("embed"): 1, Site("logits"): 1})


def test_order_is_that_of_a_forward_pass() -> None:
    ordered = ["embed", "0.resid_pre", "0.k", "0.z", "0.resid_post", "1.resid_pre", "logits"]
    shuffled = sorted((Site.parse(text) for text in reversed(ordered)), key=lambda s: s.order)
    assert texts(*shuffled) == ordered


@given(any_site())
def test_a_head_belongs_to_its_whole(site: Site) -> None:
    assert site.whole == replace(site, head=None)
    assert site.whole.order == site.order
