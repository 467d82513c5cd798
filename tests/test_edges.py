"""Edges of the graph: two roads to each number, identities, known circuits, faults."""

import json
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.conftest import FAMILIES
from workbench.claims import edges as claims
from workbench.errors import InputError
from workbench.hooks import Edit, run
from workbench.metrics import auroc
from workbench.models import Model, from_ids
from workbench.patching import MEASURES, Metric, sweep
from workbench.patching.edges import (
    Circuit,
    Graph,
    acdc,
    completeness,
    curve,
    graph_of,
    grown,
    largest,
    minimality,
    patch_paths,
    random_circuits,
    read_circuit,
    run_circuits,
    score_edges,
)
from workbench.patching.edges.ends import Ends, ends_of
from workbench.sites import Site
from workbench.tasks import Pair, Pairs

LOGITS = Metric.named("logit difference")
_OTHER: Any = "other"


def _pairs(model: Model, lengths=(7, 7, 5), seed: int = 0) -> Pairs:
    drawn = torch.Generator().manual_seed(seed)
    rows = []
    for length in lengths:
        clean = torch.randint(5, 300, (length,), generator=drawn)
        corrupted = clean.clone()
        at = int(torch.randint(1, length, (), generator=drawn))
        corrupted[at] = (clean[at] + 1) % 300
        one, other = (
            from_ids(model.vocabulary, ids.tolist(), bos=False) for ids in (clean, corrupted)
        )
        rows.append(Pair(one, other, (7,), (8,)))
    return Pairs("random", tuple(rows))


@pytest.fixture(params=FAMILIES)
def model(request, tiny) -> Model:
    return tiny(request.param)


def _ends(model: Model, lengths=(7, 7), seed: int = 0) -> Ends:
    return ends_of(model, graph_of(model), _pairs(model, lengths, seed).rows, LOGITS)


# The graph


def test_gpt2_small_has_the_edges_that_mib_counts() -> None:
    assert int(Graph(12, 12, 12, mlps=True, parallel=False).valid.sum()) == 32_491


def test_an_edge_goes_from_a_writer_to_a_later_reader() -> None:
    graph = Graph(2, 2, 1, mlps=True, parallel=False)
    assert graph.receivers == (
        *("L0H0.q", "L0H1.q", "L0H0.k", "L0H0.v", "L0.mlp"),
        *("L1H0.q", "L1H1.q", "L1H0.k", "L1H0.v", "L1.mlp", "logits"),
    )
    heard = {
        name: {graph.senders[int(n)] for n in graph.valid[row].nonzero().flatten()}
        for row, name in enumerate(graph.receivers)
    }
    assert heard["L0H0.v"] == {"embed"}
    assert heard["L0.mlp"] == {"embed", "L0H0", "L0H1"}
    assert heard["L1H0.k"] == {"embed", "L0H0", "L0H1", "L0.mlp"}
    assert heard["logits"] == set(graph.senders)
    parallel = Graph(2, 2, 1, mlps=True, parallel=True)
    assert not bool(parallel.valid[parallel.receivers.index("L0.mlp"), 1:].any())


def test_a_head_hangs_on_its_query_and_on_its_groups_key() -> None:
    graph = Graph(2, 4, 2, mlps=True, parallel=False)
    owned = {
        name: [graph.senders[n] for n in graph.owners(row)]
        for row, name in enumerate(graph.receivers)
    }
    assert owned["L1H3.q"] == ["L1H3"]
    assert owned["L1H1.k"] == ["L1H2", "L1H3"]
    assert owned["L1.mlp"] == ["L1.mlp"]
    assert owned["logits"] == []


# Runs with edges cut


def test_nothing_cut_is_the_base_run_and_all_cut_the_other(model) -> None:
    ends = _ends(model)
    none, every = torch.zeros(1, *ends.graph.valid.shape), ends.graph.valid.float()[None]
    found = ends.cut(torch.cat([none, every, none]))
    torch.testing.assert_close(found[[0, 2]], ends.base.expand(2, -1), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1], ends.source, atol=1e-5, rtol=0)


def test_a_run_from_a_later_layer_is_the_whole_run(model) -> None:
    ends = _ends(model)
    removed = torch.zeros(2, *ends.graph.valid.shape)
    drawn = torch.rand(removed.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    first = ends.graph.reads(2, "q").start
    removed[:, first:] = (drawn & ends.graph.valid)[:, first:].float()
    torch.testing.assert_close(ends.cut(removed, first=2), ends.cut(removed), atol=1e-5, rtol=0)


def _patched_by_hand(model: Model, ends: Ends, part: str, layer: int, at: int, sender: int):
    """The run in which one reader's stream was moved, with the model's own modules as readers."""
    moved = ends.other[sender] - ends.written[sender]
    read, site = ends.resid[layer], Site(part, layer)
    own = run(
        model,
        ends.ids,
        read=site,
        edit=Edit(Site("resid_pre", layer), lambda x: (read + moved).to(x.dtype)),
    )[site]

    def put(tensor: Tensor) -> Tensor:
        tensor[:, :, at] = own[:, :, at]
        return tensor

    ran = run(model, ends.ids, edit=Edit(site, put), logits_at=ends.columns)
    assert ran.logits is not None
    return ends.metric(ran.logits, ends.wanted)


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_one_edge_cut_is_the_run_with_that_input_alone_moved(tiny, data) -> None:
    model = tiny(data.draw(st.sampled_from(FAMILIES)))
    ends = _ends(model, seed=data.draw(st.integers(0, 99)))
    graph, part = ends.graph, data.draw(st.sampled_from(["q", "k", "v"]))
    layer = data.draw(st.integers(1, 2))
    sender = data.draw(st.integers(0, graph.heads(layer).start - 1))
    receivers = graph.reads(layer, part)
    at = data.draw(st.integers(0, receivers.stop - receivers.start - 1))
    removed = torch.zeros(1, *graph.valid.shape)
    removed[0, receivers.start + at, sender] = 1
    by_hand = _patched_by_hand(model, ends, part, layer, at, sender)
    torch.testing.assert_close(ends.cut(removed)[0], by_hand, atol=1e-5, rtol=0)


def test_all_edges_out_of_a_head_cut_is_its_output_patched(model) -> None:
    pairs = _pairs(model)
    graph = graph_of(model)
    whole = Circuit.whole(graph)
    layer, head = 1, graph.n_heads - 1
    ran = run_circuits(model, pairs, [whole.without([f"L{layer}H{head}"])])
    patched = sweep(
        model, pairs, "z", places="all", direction="noising", layers=[layer], components=[head]
    )
    torch.testing.assert_close(ran.values[0], patched.values[0, 0, 0], atol=1e-5, rtol=0)
    ran = run_circuits(model, pairs, [whole.without([f"L{layer}.mlp"])])
    patched = sweep(model, pairs, "mlp_out", places="all", direction="noising", layers=[layer])
    torch.testing.assert_close(ran.values[0], patched.values[0, 0, 0], atol=1e-5, rtol=0)


# Scores


def test_exact_scores_are_runs_with_one_edge_cut(model) -> None:
    pairs = _pairs(model)
    graph = graph_of(model)
    found = score_edges(model, pairs, method="exact")
    whole = Circuit.whole(graph)
    chosen = graph.valid.nonzero()[:: int(graph.valid.sum()) // 9]
    circuits = []
    for receiver, sender in chosen:
        kept = whole.kept.clone()
        kept[receiver, sender] = False
        circuits.append(Circuit(graph, kept))
    ran = run_circuits(model, pairs, circuits)
    expected = ran.values - ran.whole
    torch.testing.assert_close(
        found.values[chosen[:, 0], chosen[:, 1]], expected, atol=1e-5, rtol=0
    )
    assert not bool(found.values[~graph.valid].any())


def test_intervals_are_those_of_the_shares(model) -> None:
    found = score_edges(model, _pairs(model), method="EAP")
    edges = found.top(6)
    bounds = found.intervals(edges)
    for number, edge in enumerate(edges):
        torch.testing.assert_close(bounds.mean[number], found.shares[edge])
        assert bounds.low[number] <= bounds.mean[number] <= bounds.high[number]
    sizes = [abs(float(found.shares[edge])) for edge in edges]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(float(found.shares.abs().max()))


def test_eap_is_the_slope_of_the_mask_at_zero(model) -> None:
    pairs = _pairs(model, lengths=(7, 7))
    ends = _ends(model)
    found = score_edges(model, pairs, method="EAP").values
    chosen = ends.graph.valid.nonzero()[:: int(ends.graph.valid.sum()) // 20]
    removed = torch.zeros(len(chosen), *ends.graph.valid.shape)
    step = 1e-2
    removed[range(len(chosen)), chosen[:, 0], chosen[:, 1]] = step
    slope = (ends.cut(removed) - ends.cut(-removed)) / (2 * step)
    torch.testing.assert_close(found[chosen[:, 0], chosen[:, 1]], slope, atol=2e-4, rtol=2e-2)


def test_eap_ig_from_the_embedding_sums_to_the_whole_effect(model) -> None:
    found = score_edges(model, _pairs(model), method="EAP-IG", steps=64)
    whole = found.corrupted - found.clean
    torch.testing.assert_close(found.values[:, 0].sum(0), whole, atol=1e-4, rtol=1e-2)


def test_pairs_in_batches_score_as_one_by_one(model) -> None:
    pairs = _pairs(model)
    for method in ("EAP", "EAP-IG"):
        found = score_edges(model, pairs, method=method).values
        for number, row in enumerate(pairs.rows):
            alone = score_edges(model, Pairs("one", (row,)), method=method).values
            torch.testing.assert_close(found[..., number], alone[..., 0], atol=1e-5, rtol=1e-3)


def test_memory_bounds_the_batch_and_changes_nothing(model) -> None:
    pairs = _pairs(model, lengths=(6,) * 8)
    small = score_edges(model, pairs, memory=400_000)
    whole = score_edges(model, pairs)
    assert small.forwards > whole.forwards
    torch.testing.assert_close(small.values, whole.values, atol=1e-5, rtol=1e-3)
    with pytest.raises(InputError, match="give more memory"):
        score_edges(model, pairs, memory=1000)


# Known circuits


@pytest.mark.parametrize("name", claims._CASES)
def test_true_edges_come_first(name) -> None:
    case = claims.known(name)
    exact = score_edges(case.model, case.pairs, method="exact")
    assert case.auroc(exact) == 1.0
    # EAP cannot see through a softmax that is all on one key; the others have none that counts.
    assert (case.auroc(score_edges(case.model, case.pairs, method="EAP")) == 1.0) == (
        name != "induction-by-hand"
    )


@pytest.mark.parametrize("name", claims._CASES)
def test_the_true_circuit_is_found_faithful_complete_and_minimal(name) -> None:
    case = claims.known(name)
    found = acdc(case.model, case.pairs, 0.01)
    assert found.edges == case.circuit.edges
    ran = run_circuits(case.model, case.pairs, [case.circuit, case.circuit.complement()])
    torch.testing.assert_close(ran.faithfulness().mean, torch.tensor([1.0, 0.0]))
    assert completeness(case.model, case.pairs, case.circuit).gap < 1e-5
    assert all(fall > 0.1 for fall in minimality(case.model, case.pairs, case.circuit).values())
    exact = score_edges(case.model, case.pairs, method="exact")
    for search in (grown, largest):
        assert (
            search(exact.graph, exact.shares.abs(), len(case.circuit)).edges == case.circuit.edges
        )
    for rival in random_circuits(case.circuit, 3):
        assert len(rival) == len(case.circuit)
        assert float(run_circuits(case.model, case.pairs, [rival]).faithfulness().mean) < 0.9


def test_claims_hold() -> None:
    assert claims.saturated_softmax().holds


# Circuits


def test_ablations_differ_in_what_is_carried(model) -> None:
    pairs = _pairs(model, lengths=(6, 6, 6))
    graph = graph_of(model)
    nothing = Circuit(graph, torch.zeros_like(graph.valid))
    runs = {
        ablation: run_circuits(model, pairs, [Circuit.whole(graph), nothing], ablation=ablation)
        for ablation in ("resample", "mean", "zero")
    }
    for ran in runs.values():
        torch.testing.assert_close(ran.values[0], ran.whole, atol=1e-6, rtol=0)
        torch.testing.assert_close(ran.values[1], ran.empty)
    corrupted = score_edges(model, pairs, method="EAP").corrupted
    torch.testing.assert_close(runs["resample"].empty, corrupted, atol=1e-5, rtol=0)
    # With nothing or the mean in every input, all pairs' runs are one.
    for ablation in ("mean", "zero"):
        empty = runs[ablation].empty
        torch.testing.assert_close(empty, empty[:1].expand_as(empty), atol=1e-5, rtol=0)
    assert float((runs["mean"].empty - runs["zero"].empty).abs().max()) > 1e-4


def test_cpr_and_cmd_are_areas(model) -> None:
    pairs, graph = _pairs(model), graph_of(model)
    scores = score_edges(model, pairs, method="exact")
    found = curve(model, pairs, graph, scores.shares, fractions=(0.1, 0.5, 1.0))
    low, mid, high = found.faithfulness.mean.tolist()
    assert high == pytest.approx(1, abs=1e-4)
    assert found.cpr == pytest.approx(0.4 * (low + mid) / 2 + 0.5 * (mid + high) / 2)
    off = [abs(1 - x) for x in (low, mid, high)]
    assert found.cmd == pytest.approx(0.4 * (off[0] + off[1]) / 2 + 0.5 * (off[1] + off[2]) / 2)
    assert found.sizes[-1] == int(graph.valid.sum())


def test_pruning_leaves_what_leads_from_the_embedding_to_the_logits(model) -> None:
    graph = graph_of(model)
    kept = ("embed->L0H0.v", "L0H0->L1.mlp", "L1.mlp->logits")
    dead = ("L0H1->L2H0.q", "L0.mlp->logits")  # leads nowhere; fed by nothing
    assert Circuit.of(graph, [*kept, *dead]).pruned().edges == kept
    drawn = torch.rand(graph.valid.shape, generator=torch.Generator().manual_seed(0)) < 0.2
    some = Circuit(graph, drawn & graph.valid)
    ran = run_circuits(model, _pairs(model), [some, some.pruned()])
    torch.testing.assert_close(ran.values[0], ran.values[1], atol=1e-5, rtol=0)


def test_grown_circuits_lead_to_the_logits(model) -> None:
    graph = graph_of(model)
    strengths = torch.rand(graph.valid.shape, generator=torch.Generator().manual_seed(1))
    for count in (1, 5, 40):
        found = grown(graph, strengths, count)
        assert len(found) == count
        leads = set(found.senders)
        for receiver, _ in found.kept.nonzero().tolist():
            owners = {graph.senders[n] for n in graph.owners(receiver)}
            assert not owners or owners & leads
    assert grown(graph, strengths, int(graph.valid.sum())).edges == Circuit.whole(graph).edges


def test_a_circuit_comes_back_from_its_file(model, tmp_path) -> None:
    graph = graph_of(model)
    one = Circuit.of(graph, ["embed->L0H0.v", "L0H0->logits"], task="random", n=3)
    one.write(tmp_path / "circuit.json")
    again = read_circuit(tmp_path / "circuit.json")
    assert again.graph == graph
    assert again.edges == one.edges
    assert again.found == {"task": "random", "n": 3}


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda c: c | {"format": "circuit 9"}, "circuit 9"),
        (lambda c: c | {"edges": ["L0H0->L0H1.q"]}, "reads before"),
        (lambda c: c | {"edges": ["logits->embed"]}, "no edge"),
        (lambda c: c | {"edges": [3]}, "is no circuit"),
        (lambda c: c | {"graph": c["graph"] | {"n_layers": 10**9}}, "no model"),
        (lambda c: c | {"graph": c["graph"] | {"n_heads": True}}, "no model"),
        (lambda c: {"format": "circuit 1"}, "is no circuit"),
        (lambda c: [], "is no circuit"),
    ],
)
def test_a_file_that_is_no_circuit_is_told(tiny, tmp_path, unchecked, change, told) -> None:
    path = tmp_path / "circuit.json"
    Circuit.of(graph_of(tiny("gpt2")), ["embed->logits"]).write(path)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=told):
        read_circuit(path)


# Paths


def test_a_path_to_the_logits_is_the_senders_direct_effect(model) -> None:
    pairs = _pairs(model, lengths=(6, 6))
    found = patch_paths(model, pairs)
    ends = _ends_of(model, pairs)
    for name in ("embed", "L0H1", "L2.mlp"):
        number = ends.graph.senders.index(name)
        moved = ends.other[number] - ends.written[number]
        edit = Edit("2.resid_post", lambda x, moved=moved: x + moved)
        ran = run(model, ends.ids, edit=edit, logits_at=ends.columns)
        assert ran.logits is not None
        expected = ends.metric(ran.logits, ends.wanted)
        torch.testing.assert_close(
            found.values[found.senders.index(name)], expected, atol=1e-5, rtol=0
        )


def _ends_of(model: Model, pairs: Pairs) -> Ends:
    return ends_of(model, graph_of(model), pairs.rows, LOGITS)


def test_paths_to_several_receivers_are_their_edges(model) -> None:
    pairs = _pairs(model)
    into = ["L1H0.q", "L2.mlp", "logits"]
    found = patch_paths(model, pairs, into, ["L0H0", "embed"])
    whole = Circuit.whole(graph_of(model))
    cut = []
    for sender in found.senders:
        kept = whole.kept.clone()
        for receiver in into:
            kept[whole.graph.edge(f"{sender}->{receiver}")] = False
        cut.append(Circuit(whole.graph, kept))
    ran = run_circuits(model, pairs, cut)
    torch.testing.assert_close(found.values, ran.values, atol=1e-5, rtol=0)


def test_denoising_a_path_is_noising_it_with_prompts_exchanged(model) -> None:
    pairs = _pairs(model)
    exchanged = Pairs(
        "exchanged", tuple(Pair(p.corrupted, p.clean, p.answers, p.wrongs) for p in pairs)
    )
    one = patch_paths(model, pairs, ["L2H0.k"], direction="denoising")
    other = patch_paths(model, exchanged, ["L2H0.k"])
    torch.testing.assert_close(one.values, other.values)
    torch.testing.assert_close(one.effects().mean, 1 - other.effects().mean, atol=1e-3, rtol=1e-3)


# Faults


@pytest.mark.parametrize(
    "ask, told",
    [
        (lambda m, p: score_edges(m, p, method="EAPP"), "EAPP.*EAP-IG, EAP, exact"),
        (lambda m, p: score_edges(m, p, steps=0), "0 steps"),
        (lambda m, p: score_edges(m, p, metric="KL", method="EAP"), "flat"),
        (lambda m, p: score_edges(m, p, metric="top-1 accuracy"), "no gradient"),
        (lambda m, p: score_edges(m, p, metric=Metric.named("probability", 40)), "40"),
        (lambda m, p: run_circuits(m, p, []), "no circuit"),
        (lambda m, p: run_circuits(m, p, [Circuit.whole(graph_of(m))], ablation=_OTHER), "other"),
        (
            lambda m, p: run_circuits(m, p, [Circuit.whole(Graph(1, 1, 1, True, False))]),
            "another model",
        ),
        (lambda m, p: Circuit.whole(graph_of(m)).without(["L9H9"]), "L9H9"),
        (lambda m, p: grown(graph_of(m), torch.zeros(1), 10**9), "this model has"),
        (lambda m, p: grown(graph_of(m), graph_of(m).valid / 0.0, 3), "strengths are NaN"),
        (lambda m, p: score_edges(m, p, metric=lambda x, w: x.sum()), "must return .row, kept"),
        (lambda m, p: acdc(m, p, 0.0), "not above 0"),
        (lambda m, p: patch_paths(m, p, ["L0H0.q"], ["L2H0"]), "writes after"),
        (lambda m, p: patch_paths(m, p, ["L0H0"]), "no receiver"),
        (lambda m, p: patch_paths(m, p, senders=["logits"]), "no sender"),
        (lambda m, p: patch_paths(m, p, []), "no receiver is named"),
        (lambda m, p: patch_paths(m, p, direction=_OTHER), "other"),
    ],
)
def test_faults_are_told(tiny, unchecked, ask, told) -> None:
    model = tiny("gpt2")
    with pytest.raises(InputError, match=told):
        ask(model, _pairs(model))


def test_equal_anchors_are_told(tiny) -> None:
    model = tiny("gpt2")
    pairs = _pairs(model, lengths=(6,))
    same = Metric("nothing", lambda logits, wanted: logits[..., 0] * 0.0)
    for ask in (score_edges, patch_paths):
        with pytest.raises(InputError, match=r"flat|same metric"):
            ask(model, pairs, metric=same)


@pytest.mark.parametrize("ask", [score_edges, partial(score_edges, method="exact"), patch_paths])
def test_nothing_leaks_after_a_failure(model, ask, monkeypatch) -> None:
    pairs = _pairs(model)
    ids = torch.tensor([pairs.rows[0].clean.ids])
    before = run(model, ids).logits
    flags = [p.requires_grad for p in model.weights.parameters()]
    fails = Metric("fails", MEASURES["logit difference"])
    calls = []

    def measure(logits: Tensor, wanted) -> Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("in the middle")
        return MEASURES["logit difference"](logits, wanted)

    with pytest.raises(RuntimeError, match="in the middle"):
        ask(model, pairs, metric=Metric(fails.name, measure))
    after = run(model, ids).logits
    assert before is not None and after is not None
    assert torch.equal(before, after)
    assert [p.requires_grad for p in model.weights.parameters()] == flags


# AUROC


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=12))
def test_auroc_counts_pairs(rows) -> None:
    scores, true = (torch.tensor(column) for column in zip(*rows, strict=True))
    if bool(true.all()) or not bool(true.any()):
        with pytest.raises(InputError, match="needs both"):
            auroc(scores.float(), true)
        return
    wins = [(a > b) + 0.5 * (a == b) for a in scores[true] for b in scores[~true]]
    assert auroc(scores.float(), true) == pytest.approx(float(sum(wins)) / len(wins))


def test_a_pinned_component_brings_all_its_edges(tiny) -> None:
    graph = graph_of(tiny("llama"))
    edge = graph.name(len(graph.receivers) - 1, 0)
    joined = Circuit.of(graph, [edge], task="t").joined(["L0H1"])
    assert joined.found == {"task": "t"}
    by_hand = torch.zeros_like(graph.valid)
    by_hand[-1, 0] = True
    for receiver in range(len(graph.receivers)):
        for sender in range(len(graph.senders)):
            ends = (
                graph.senders[sender] == "L0H1",
                graph.senders.index("L0H1") in graph.owners(receiver),
            )
            by_hand[receiver, sender] |= bool(graph.valid[receiver, sender]) and any(ends)
    assert torch.equal(joined.kept, by_hand)
    assert torch.equal(joined.joined([edge, "L0H1"]).kept, by_hand), "a union"
    assert torch.equal(
        joined.without(["L0H1"]).kept, joined.kept & Circuit.whole(graph).without(["L0H1"]).kept
    )


@pytest.mark.parametrize(
    ("name", "told"), [("L9H9", "no component"), ("logits->embed", "no edge"), ("", "no component")]
)
def test_what_cannot_be_pinned_is_told(tiny, name: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Circuit.whole(graph_of(tiny("gpt2"))).joined([name])


def test_a_circuits_text_is_its_file(tiny, tmp_path) -> None:
    one = Circuit.of(graph_of(tiny("gpt2")), ["embed->logits"], task="t")
    one.write(tmp_path / "c.json")
    assert (tmp_path / "c.json").read_text() == one.text()
    again = read_circuit(tmp_path / "c.json")
    assert again.edges == one.edges and again.found == {"task": "t"}


@pytest.mark.parametrize(("count", "found"), [(1, 1), (3, 3), (4, 2), (9, 4)])
def test_pairs_are_halved_where_there_are_enough(tiny, count: int, found: int) -> None:
    pairs = _pairs(tiny("gpt2"), lengths=(5,) * count)
    find, judge = pairs.halves()
    assert len(find) == found and find.name == judge.name == "random"
    if count < 4:
        assert find is judge is pairs
    else:
        assert (*find.rows, *judge.rows) == pairs.rows
