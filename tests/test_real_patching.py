"""What patching finds in smollm2-135m: the circuits that were measured once."""

import pytest

from workbench.models import Model
from workbench.patching import sweep
from workbench.patching.edges import grown, patch_paths, random_circuits, run_circuits, score_edges
from workbench.tasks import Pairs, task

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def capitals(smollm2: Model) -> Pairs:
    return task("capitals").pairs(smollm2, 8, 0)


def test_ioi_hands_over_from_s2_to_the_end_at_layers_19_to_24(smollm2: Model) -> None:
    pairs = task("ioi").pairs(smollm2, 6, 0)
    found = sweep(smollm2, pairs, "resid_pre", places=["S2", "end"], layers=[18, 19, 21, 24, 25])
    second, end = found.effects().mean[:, 0].unbind(1)
    assert float(second[:2].min()) > 0.95 and float(end[:2].abs().max()) < 0.05
    assert 0.2 < float(second[2]) < 0.8 and 0.2 < float(end[2]) < 0.8
    assert float(second[3:].abs().max()) < 0.15 and float(end[3:].min()) > 0.8


def test_one_head_brings_the_capital(smollm2: Model, capitals: Pairs) -> None:
    found = sweep(smollm2, capitals, "z", places="all", layers=[10, 23, 24, 29]).effects().mean
    order = found[..., 0].flatten().argsort(descending=True)
    assert divmod(int(order[0]), 9) == (1, 4)  # L23H4
    assert float(found[1, 4, 0]) > 0.45
    assert float(found[1, 4, 0]) > 1.5 * float(found.flatten()[order[1]])


def test_a_few_hundred_edges_carry_the_capital(smollm2: Model, capitals: Pairs) -> None:
    search, judge = Pairs("search", capitals.rows[:4]), Pairs("judge", capitals.rows[4:])
    scores = score_edges(smollm2, search, steps=3)
    circuit = grown(scores.graph, scores.shares.abs(), 300)
    ran = run_circuits(
        smollm2, judge, [circuit, circuit.complement(), *random_circuits(circuit, 1)]
    )
    kept, others, random = ran.faithfulness().mean.tolist()
    assert kept > 0.6 and abs(others) < 0.1 and abs(random) < 0.05


def test_two_heads_speak_to_the_logits_themselves(smollm2: Model, capitals: Pairs) -> None:
    pairs = Pairs("some", capitals.rows[:4])
    found = patch_paths(smollm2, pairs, senders=["L23H4", "L29H1", "L23H0", "L12H3"])
    lost = dict(zip(found.senders, (1 - found.effects().mean).tolist(), strict=True))
    assert min(lost["L23H4"], lost["L29H1"]) > 0.1 > abs(lost["L23H0"])
    assert abs(lost["L12H3"]) < 0.01
