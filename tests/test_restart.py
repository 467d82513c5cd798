"""A forward from a later layer, from kept keys and values, and to few logits: the same numbers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workbench.errors import InputError
from workbench.hooks import Edit, Past, Run, Start, run
from workbench.models import Model
from workbench.sites import Site


def logits(ran: Run) -> Tensor:
    assert ran.logits is not None
    return ran.logits


def kept(ran: Run) -> Past:
    assert ran.past is not None
    return ran.past


def forwards(model: Model) -> list[object]:
    """What an unclean restart would leave behind."""
    trees = [model.bridge, *([model.plain] if model.plain is not None else [])]
    modules = [module for tree in trees for module in tree.modules()]
    return [vars(m)["forward"] for m in modules if "forward" in vars(m)]


# From a residual


def test_restart_at_every_layer_is_the_full_run(road, ids) -> None:
    model, also = road
    full = run(model, ids, read=["*.resid_pre", "*.z", *also], stop="never")
    before = forwards(model)
    for layer in range(model.architecture.n_layers):
        start = Start(layer, full[f"{layer}.resid_pre"])
        here = [f"{layer}.scores"] if also else []
        again = run(model, ids, start=start, read=["2.z", *here], stop="never")
        assert torch.equal(logits(again), logits(full)), layer
        assert torch.equal(again["2.z"], full["2.z"]), layer
        assert again.receipt.road == full.receipt.road
    assert forwards(model) == before
    assert torch.equal(logits(run(model, ids, read=also, stop="never")), logits(full))


def test_restart_of_the_native_model(by_hand: Model, ids) -> None:
    tokens = ids % by_hand.architecture.d_vocab
    full = run(by_hand, tokens, read="1.resid_pre", stop="never")
    again = run(by_hand, tokens, start=Start(1, full["1.resid_pre"]))
    assert torch.equal(logits(again), logits(full))


def test_restart_from_another_prompts_residual_is_patching_it(road, ids) -> None:
    """The whole residual replaced: what a full run with that edit gives."""
    model, also = road
    other = run(model, ids.flip(0), read=["1.resid_pre", *also])["1.resid_pre"]
    edit = Edit("1.resid_pre", lambda x: other)
    patched = run(model, ids, read=also, edit=edit, stop="never")
    assert_close(logits(run(model, ids, start=Start(1, other))), logits(patched), atol=1e-6, rtol=0)


def test_reads_and_edits_at_the_start_itself(road, ids) -> None:
    model, also = road
    full = run(model, ids, read=["1.resid_pre", *also], stop="never")
    double = Edit("1.resid_pre", lambda x: 2 * x)
    start = Start(1, full["1.resid_pre"])
    again = run(model, ids, start=start, read="1.resid_pre", edit=double, stop="never")
    assert torch.equal(again["1.resid_pre"], 2 * full["1.resid_pre"])
    edited = run(model, ids, read=also, edit=double, stop="never")
    assert_close(logits(again), logits(edited), atol=1e-6, rtol=0)


def test_gradients_flow_to_the_residual(tiny: Callable[..., Model], family: str, ids) -> None:
    model = tiny(family)
    resid = run(model, ids, read="1.resid_pre")["1.resid_pre"].clone().requires_grad_()
    logits(run(model, ids, start=Start(1, resid), grad=True))[:, -1, 5].sum().backward()
    assert resid.grad is not None and float(resid.grad.norm()) > 0


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"read": "0.mlp_out"}, "0.mlp_out lies below the start at layer 1"),
        ({"read": "embed"}, "embed lies below the start"),
        ({"edit": Edit("0.z", lambda z: z)}, "0.z lies below the start"),
        ({"start": Start(3, torch.zeros(2, 12, 24))}, "layers run from 0 to 2"),
        ({"start": Start(1, torch.zeros(2, 11, 24))}, r"shape \(2, 11, 24\), expected \(2, 12, 2"),
        ({"start": Start(1, torch.zeros(2, 12, 24).double())}, "dtype torch.float64, expected"),
    ],
)
def test_what_a_restart_refuses(tiny: Callable[..., Model], ids, what, words) -> None:
    model = tiny("llama")
    with pytest.raises(InputError, match=words):
        run(model, ids, **({"start": Start(1, torch.zeros(2, 12, 24))} | what))


def test_an_error_on_the_way_leaves_no_block_changed(tiny: Callable[..., Model], ids) -> None:
    model = tiny("llama")
    clean = logits(run(model, ids))

    def fail(x: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, ids, start=Start(2, torch.ones(2, 12, 24)), edit=Edit("2.mlp_out", fail))
    assert not forwards(model)
    assert torch.equal(logits(run(model, ids)), clean)


# From keys and values


def test_the_past_gives_the_later_positions(road, ids) -> None:
    model, also = road
    full = run(model, ids, read=["*.resid_pre", *also], keep_past=True, stop="never")
    assert kept(full).length == 12
    for cut in (1, 7, 11):
        past = kept(full).upto(cut)
        later = run(model, ids[:, cut:], past=past, read=also, stop="never")
        assert_close(logits(later), logits(full)[:, cut:], atol=1e-5, rtol=1e-5)
        for layer in range(3):
            resid = full[f"{layer}.resid_pre"][:, cut:]
            again = run(model, ids[:, cut:], past=past, start=Start(layer, resid))
            assert_close(logits(again), logits(full)[:, cut:], atol=1e-5, rtol=1e-5)


def test_the_past_grows_and_is_not_written_to(tiny: Callable[..., Model], family, ids) -> None:
    model = tiny(family)
    first = kept(run(model, ids[:, :5], keep_past=True))
    before = [keys.clone() for keys in first.keys]
    second = kept(run(model, ids[:, 5:], past=first, keep_past=True))
    assert (first.length, second.length) == (5, 12)
    assert all(torch.equal(a, b) for a, b in zip(first.keys, before, strict=True))
    whole = kept(run(model, ids, keep_past=True))
    for a, b in zip(second.keys + second.values, whole.keys + whole.values, strict=True):
        assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_an_edit_at_late_positions_needs_only_those(road, ids) -> None:
    """What makes patching fast: earlier keys and values are those of the clean run."""
    model, also = road
    full = run(model, ids, read=["1.resid_pre", *also], keep_past=True, stop="never")

    def late(x: Tensor) -> Tensor:
        x[:, 8:] *= 1.7
        return x

    edit = Edit("1.resid_pre", late)
    slow = run(model, ids, read=also, edit=edit, stop="never")
    fast = run(
        model,
        ids[:, 8:],
        past=kept(full).upto(8),
        start=Start(1, 1.7 * full["1.resid_pre"][:, 8:]),
    )
    assert_close(logits(fast), logits(slow)[:, 8:], atol=1e-5, rtol=1e-5)


def test_a_past_of_rows_is_the_past_gathered(road, ids) -> None:
    model, also = road
    full = run(model, ids, read=also, keep_past=True, stop="never")
    rows = torch.tensor([1, 0, 1])
    shared = kept(full).upto(5).of(rows)
    gathered = Past(*(tuple(t[rows] for t in ts) for ts in (kept(full).keys, kept(full).values)))
    later = ids[rows, 5:]
    for keep in (False, True):
        one, other = (
            run(model, later, past=past, read=also, keep_past=keep, stop="never")
            for past in (shared, gathered.upto(5))
        )
        assert torch.equal(logits(one), logits(other))
    assert torch.equal(kept(one).keys[1], kept(other).keys[1])
    fewer = run(model, later[1:], past=shared.of(torch.tensor([1, 2])), read=also, stop="never")
    # Another number of rows is another product of matrices: not bit for bit on every processor.
    assert_close(logits(fewer), logits(one)[1:], atol=1e-6, rtol=1e-5)
    with pytest.raises(InputError, match=r"past holds 3 layers x 3 rows .* need 3 layers x 2 rows"):
        run(model, later[1:], past=shared)


def test_what_a_past_refuses(tiny: Callable[..., Model], by_hand: Model, ids) -> None:
    model = tiny("gpt2")
    past = kept(run(model, ids, keep_past=True))
    with pytest.raises(InputError, match="1 to 12"):
        past.upto(13)
    with pytest.raises(InputError, match=r"past holds .* x 2 rows x .*need 3 layers x 1 rows x"):
        run(model, ids[:1], past=past)
    with pytest.raises(InputError, match=r"2 rows x 3 heads of 8.* need .*2 rows x 2 heads of 4"):
        run(tiny("llama"), ids, past=past)
    with pytest.raises(InputError, match="72 tokens, the model's context holds 64"):
        run(model, ids.repeat(1, 5), past=past)
    with pytest.raises(InputError, match="keeps no keys and values"):
        run(by_hand, ids % 27, keep_past=True)


# Rows that join at later layers


@pytest.mark.parametrize("kept_positions", [0, 5])
def test_rows_that_join_are_restarts_of_their_own(road, ids, kept_positions: int) -> None:
    model, also = road
    if model.architecture.family == "native":
        pytest.skip("native models keep no past")
    full = run(model, ids, read=["0.resid_pre", "1.resid_pre", "2.resid_pre", *also],
               stop="never", keep_past=True)  # fmt: skip
    late = ids[:, kept_positions:]
    starts = [
        Start(layer, full[f"{layer}.resid_pre"][rows, kept_positions:].contiguous() * 1.1)
        for layer, rows in ((0, [1]), (1, [0, 1]), (2, [0]))
    ]
    order = [1, 0, 1, 0]
    past = before = None
    if kept_positions:
        before = kept(full).upto(kept_positions)
        there = (1, 3, 4)
        past = Past(
            tuple(t[order[:n]] for t, n in zip(before.keys, there, strict=True)),
            tuple(t[order[:n]] for t, n in zip(before.values, there, strict=True)),
        )
    joined = run(model, late[order], start=starts, past=past, read=also and ["2.resid_post"],
                 stop="never", logits_at=-1)  # fmt: skip
    assert joined.logits is not None and joined.logits.shape[0] == 4
    row = 0
    for start in starts:
        n = len(start.resid)
        rows = order[row : row + n]
        alone = run(
            model, late[rows], start=start, logits_at=-1,
            past=None if before is None else Past(
                tuple(t[rows] for t in before.keys), tuple(t[rows] for t in before.values)
            ),
        )  # fmt: skip
        assert_close(joined.logits[row : row + n], logits(alone), atol=1e-5, rtol=1e-5)
        row += n


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ((1, 0), "each layer once, the lowest first"),
        ((1, 1), "each layer once"),
        ((0, 3), "layers run from 0 to 2"),
        ((0, 1, 2), "the residual to start from has shape"),
    ],
)
def test_starts_that_do_not_fit(tiny: Callable[..., Model], ids, layers, told: str) -> None:
    starts = [Start(layer, torch.zeros(1, 12, 24)) for layer in layers]
    with pytest.raises(InputError, match=told):
        run(tiny("gpt2"), ids, start=starts)
    with pytest.raises(InputError, match="2 rows start somewhere, there are 3 rows of tokens"):
        run(
            tiny("gpt2"),
            ids[[0, 0, 1]],
            start=[Start(0, starts[0].resid), Start(2, starts[0].resid)],
        )


# To few logits


def test_logits_at_few_columns(road, ids) -> None:
    model, also = road
    full = logits(run(model, ids, read=also, stop="never"))
    last = logits(run(model, ids, read=also, logits_at=-1, stop="never"))
    assert last.shape == (2, 1, full.shape[2])
    assert_close(last[:, 0], full[:, -1], atol=1e-5, rtol=1e-5)
    columns = torch.tensor([[3, 0], [-2, 7]])
    some = logits(run(model, ids, read=also, logits_at=columns, stop="never"))
    expected = torch.stack([full[0, [3, 0]], full[1, [10, 7]]])
    assert_close(some, expected, atol=1e-5, rtol=1e-5)


def test_logits_at_of_the_native_model(by_hand: Model, ids) -> None:
    tokens = ids % 27
    full = logits(run(by_hand, tokens))
    assert torch.equal(logits(run(by_hand, tokens, logits_at=4))[:, 0], full[:, 4])


@pytest.mark.parametrize("wrong", [12, -13, torch.tensor([[1], [12]]), torch.tensor([[1]])])
def test_logits_at_outside(tiny: Callable[..., Model], ids, wrong) -> None:
    with pytest.raises(InputError, match=r"columns -12 to 11 in each of the 2 rows"):
        run(tiny("gpt2"), ids, logits_at=wrong)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wrong", [torch.tensor([[1.0], [2.0]]), torch.tensor([1, 2])])
def test_logits_at_that_are_no_columns(tiny: Callable[..., Model], ids, wrong) -> None:
    with pytest.raises(InputError, match=r"logits_at is torch.* give whole numbers of shape"):
        run(tiny("gpt2"), ids, logits_at=wrong)


def test_logits_at_and_the_site_of_all_logits(tiny: Callable[..., Model], ids) -> None:
    with pytest.raises(InputError, match="leave one out"):
        run(tiny("gpt2"), ids, read=Site("logits"), logits_at=-1)


def test_logits_of_few_tokens(road, ids) -> None:
    model, also = road
    full = run(model, ids, read=["1.resid_pre", *also], stop="never")
    tokens, last = torch.tensor([7, 3, 299]), torch.tensor([[11], [4]])
    some = logits(run(model, ids, read=also, logits_of=tokens, stop="never"))
    assert_close(some, logits(full)[..., tokens], atol=1e-5, rtol=1e-5)
    start = Start(1, full["1.resid_pre"])
    both = logits(run(model, ids, start=start, read=also and ["2.resid_post"], logits_of=tokens,
                      logits_at=last, stop="never"))  # fmt: skip
    assert_close(both[:, 0], some[[0, 1], last[:, 0]], atol=1e-5, rtol=1e-5)
    assert not forwards(model)
    assert torch.equal(logits(run(model, ids, read=also, stop="never")), logits(full))


def test_logits_of_few_tokens_of_the_native_model(by_hand: Model, ids) -> None:
    tokens, few = ids % 27, torch.tensor([2, 20])
    full = logits(run(by_hand, tokens))
    assert_close(logits(run(by_hand, tokens, logits_of=few)), full[..., few], atol=1e-5, rtol=1e-5)


def test_rows_of_logits_set_apart_are_the_same_numbers(road, ids) -> None:
    """300 tokens fill no whole number of 64 bytes; only runs from a layer set rows apart."""
    model, also = road
    plain = run(model, ids, read=["1.resid_pre", *also], stop="never")
    start = Start(1, plain["1.resid_pre"])
    above = [site for site in also if site != "0.scores"]
    apart = logits(run(model, ids, start=start, read=above, stop="never"))
    whole = run(model, ids, start=start, read=["logits", *above], stop="never")
    assert torch.equal(apart, whole["logits"]) and not apart.is_contiguous()
    assert whole["logits"].is_contiguous() and logits(plain).is_contiguous()


def test_the_last_mlp_is_run_where_logits_are_kept(tiny: Callable[..., Model], family, ids) -> None:
    """And everywhere as soon as somebody looks at what it does, or changes it."""
    model, seen = tiny(family), []
    tree = model.plain
    assert tree is not None
    (block,) = (m for name, m in tree.named_modules() if name.endswith((".h.2", ".layers.2")))
    mlp = block.mlp
    assert isinstance(mlp, torch.nn.Module)
    handle = mlp.register_forward_hook(lambda _, args, out: seen.append(args[0].shape[1]))
    full = run(model, ids, read="2.mlp_out", stop="never")
    seen.clear()
    last = run(model, ids, logits_at=-1)
    read = run(model, ids, read="2.mlp_out", logits_at=-1, stop="never")
    double, columns = Edit("2.mlp_post", lambda x: 2 * x), torch.tensor([[3], [5]])
    edited = run(model, ids, edit=double, logits_at=columns)
    handle.remove()
    assert seen == [1, 12, 12]
    assert_close(logits(last)[:, 0], logits(full)[:, -1], atol=1e-5, rtol=1e-5)
    assert_close(read["2.mlp_out"], full["2.mlp_out"], atol=1e-5, rtol=1e-5)
    whole = logits(run(model, ids, edit=double))
    assert_close(logits(edited)[:, 0], whole[[0, 1], [3, 5]], atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (torch.tensor([3, 300]), "outside the vocabulary of 300"),
        (torch.tensor([-1]), "outside the vocabulary"),
        (torch.tensor([[1]]), r"logits_of is torch.int64 of shape \(1, 1\); give token ids"),
        (torch.tensor([1.0]), "logits_of is torch.float32"),
    ],
)
def test_logits_of_that_are_no_tokens(tiny: Callable[..., Model], ids, tokens, told: str) -> None:
    with pytest.raises(InputError, match=told):
        run(tiny("gpt2"), ids, logits_of=tokens)
