"""One forward in which receivers read streams of their own.

The model's own attention, MLPs and unembedding compute; what differs is what they are handed.
Edits replace the queries, keys, values and MLP inputs of those receivers that read something
other than the residual stream, and hand over what each sender writes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from workbench.hooks import Edit
from workbench.models import Model
from workbench.models.weights import Norm, attention_weights, check_queries, norm
from workbench.patching.edges.graph import PARTS, Graph
from workbench.sites import Site

Stream = Float[Tensor, "row pos d_model"]
Inputs = Float[Tensor, "variant receiver pair pos d_model"]
Written = Float[Tensor, "variant sender pair pos d_model"]


@runtime_checkable
class Wiring(Protocol):
    """What receivers read, of the stream as it is and of what senders wrote.

    The rows of a forward are `variant` by `pair`: the same pairs under several wirings.
    """

    variants: int

    def own(self, receivers: slice) -> list[int]:
        """Which of some receivers read something of their own, counted from the first of them."""
        ...

    def reads(self, receivers: list[int], stream: Stream) -> Inputs:
        """What these receivers read where the residual stream is `stream`."""
        ...

    def heard(self, senders: slice) -> bool:
        """Whether anybody asks what these senders write."""
        ...

    def wrote(self, senders: slice, written: Written) -> None:
        """What these senders wrote in this forward."""
        ...


def edits_of(model: Model, graph: Graph, wiring: Wiring, first: int = 0) -> list[Edit]:
    """The edits that put a wiring into a forward that starts at layer `first`.

    Raises `InputError` for a model whose queries, keys or MLP inputs are not its norms' and
    weights' (normalised queries, norms behind attention).
    """
    edits: list[Edit] = []
    for layer in range(first, graph.n_layers):
        edits += _Layer(model, graph, wiring, layer).edits()
    last = slice(len(graph.receivers) - 1, len(graph.receivers))
    if wiring.own(last):
        site = Site("resid_post", graph.n_layers - 1)
        edits.append(Edit(site, lambda x: _logits(wiring, last.start, x)))
    return edits


def _logits(wiring: Wiring, receiver: int, stream: Stream) -> Stream:
    read = wiring.reads([receiver], stream)
    return rearrange(read, "v 1 p t d -> (v p) t d").to(stream.dtype)


@dataclass
class _Layer:
    """The edits of one block; `pre` and `mid` are the stream that they meet."""

    model: Model
    graph: Graph
    wiring: Wiring
    layer: int
    pre: Tensor | None = None
    mid: Tensor | None = None

    def edits(self) -> list[Edit]:
        graph, layer = self.graph, self.layer
        own = {part: self.wiring.own(graph.reads(layer, part)) for part in PARTS}
        own = {part: which for part, which in own.items() if which}
        mlp = graph.mlps and bool(self.wiring.own(graph.reads(layer, "mlp")))
        found = []
        if own or (mlp and graph.parallel) or (layer == 0 and self.wiring.heard(slice(0, 1))):
            found.append(Edit(Site("resid_pre", layer), self._met))
        for part, which in own.items():
            found.append(Edit(Site(part, layer), self._reader(part, which)))
        if self.wiring.heard(graph.heads(layer)):
            found.append(Edit(Site("z", layer), self._heads_wrote))
        if mlp and not graph.parallel:
            found.append(Edit(Site("resid_mid", layer), self._between))
        if mlp:
            found.append(Edit(Site("mlp_in", layer), self._mlp_reads))
        if graph.mlps and self.wiring.heard(graph.mlp(layer)):
            found.append(Edit(Site("mlp_out", layer), self._mlp_wrote))
        return found

    @cached_property
    def _norm(self) -> Norm:
        return norm(self.model, self.layer)

    def _met(self, stream: Tensor) -> Tensor:
        self.pre = stream
        if self.layer == 0 and self.wiring.heard(slice(0, 1)):
            self.wiring.wrote(slice(0, 1), self._split(stream[:, None]))
        return stream

    def _between(self, stream: Tensor) -> Tensor:
        self.mid = stream
        return stream

    def _reader(self, part: str, which: list[int]) -> Callable[[Tensor], Tensor]:
        """Queries, keys or values of some heads, of what each of them reads."""
        if part in "qk":
            check_queries(self.model, self.layer)
        weights = attention_weights(self.model, self.layer)
        matrix = getattr(weights, f"W_{part.upper()}")[which].float()
        bias = getattr(weights, f"b_{part.upper()}")
        first = self.graph.reads(self.layer, part).start

        def put(tensor: Tensor) -> Tensor:
            assert self.pre is not None, "the stream comes before what reads it"
            read = self.wiring.reads([first + number for number in which], self.pre)
            new = einsum(self._norm(read), matrix, "v r p t d, r d k -> v p t r k")
            new = rearrange(new, "v p t r k -> (v p) t r k")
            tensor[:, :, which] = (new if bias is None else new + bias[which]).to(tensor.dtype)
            return tensor

        return put

    def _mlp_reads(self, normed: Tensor) -> Tensor:
        stream = self.pre if self.graph.parallel else self.mid
        assert stream is not None, "the stream comes before what reads it"
        read = self.wiring.reads([self.graph.reads(self.layer, "mlp").start], stream)
        new = norm(self.model, self.layer, before="MLP")(read)
        return rearrange(new, "v 1 p t d -> (v p) t d").to(normed.dtype)

    def _heads_wrote(self, z: Tensor) -> Tensor:
        written = written_by_heads(self.model, self.layer, z)
        self.wiring.wrote(self.graph.heads(self.layer), self._split(written))
        return z

    def _mlp_wrote(self, out: Tensor) -> Tensor:
        self.wiring.wrote(self.graph.mlp(self.layer), self._split(out[:, None]))
        return out

    def _split(self, written: Float[Tensor, "row sender pos d_model"]) -> Written:
        return rearrange(written, "(v p) s t d -> v s p t d", v=self.wiring.variants).float()


def written_by_heads(
    model: Model, layer: int, z: Float[Tensor, "row pos head d_head"]
) -> Float[Tensor, "row head pos d_model"]:
    """What each head writes into the stream, without the bias of the layer's attention."""
    output = model.output_matrix(layer).detach().to(z.dtype)
    return einsum(z, output, "row pos head k, head k d -> row head pos d")


class Untouched:
    """Every receiver reads the stream as it is, through a tensor of its own.

    Those tensors are kept, `[1, receiver, pair, pos, d_model]` by the first receiver, so that a
    gradient can be taken at each.
    """

    variants = 1

    def __init__(self) -> None:
        self.inputs: dict[int, Inputs] = {}

    def own(self, receivers: slice) -> list[int]:
        return list(range(receivers.stop - receivers.start))

    def reads(self, receivers: list[int], stream: Stream) -> Inputs:
        read = stream[None, None].expand(1, len(receivers), -1, -1, -1)
        self.inputs[receivers[0]] = read
        return read

    def heard(self, senders: slice) -> bool:
        return False

    def wrote(self, senders: slice, written: Written) -> None:
        raise AssertionError("nobody listens")


class Cut:
    """Some edges carry what their sender writes in the other run.

    `removed` is 1 where an edge does (between 0 and 1 it carries a mixture), `other` what each
    sender writes there. `base` is what senders below the forward's first layer write in this one.
    """

    def __init__(
        self,
        removed: Float[Tensor, "variant receiver sender"],
        other: Float[Tensor, "sender pair pos d_model"],
        base: Float[Tensor, "sender pair pos d_model"] | None = None,
        below: int = 0,
    ) -> None:
        self.variants = len(removed)
        self._removed = removed
        self._any = (removed != 0).any(0)
        self._other = other
        self._moved: list[tuple[Int[Tensor, " some"], Written]] = []
        if below:
            assert base is not None, "what lies below the first layer is known"
            which = self._any[:, :below].any(0).nonzero().flatten()
            self._moved.append((which, (base[which] - other[which])[None]))

    def own(self, receivers: slice) -> list[int]:
        return self._any[receivers].any(1).nonzero().flatten().tolist()

    def reads(self, receivers: list[int], stream: Stream) -> Inputs:
        read = rearrange(stream, "(v p) t d -> v 1 p t d", v=self.variants)
        for senders, moved in self._moved:
            share = self._removed[:, receivers][:, :, senders]
            if bool((share != 0).any()):
                if len(moved) == 1:
                    moved = moved.expand(self.variants, -1, -1, -1, -1)
                read = read - einsum(share, moved, "v r s, v s p t d -> v r p t d")
        return read.expand(-1, len(receivers), -1, -1, -1)

    def heard(self, senders: slice) -> bool:
        return bool(self._any[:, senders].any())

    def wrote(self, senders: slice, written: Written) -> None:
        which = self._any[:, senders].any(0).nonzero().flatten()
        if len(which):
            other = self._other[senders][which]
            self._moved.append((which + senders.start, written[:, which] - other))
