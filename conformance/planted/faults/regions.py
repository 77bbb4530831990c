"""Region compilers: what goes wrong between ops, in what a region reads and writes, and in what its order promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from ....plugin import Determinism, Metadata, Node, Promises
from ..fault import Family
from ..twin.formats import Host, is_float
from ..twin.regions import RegionCall

FAMILY: Final = Family("regions")


def _is(node: Node, *names: str) -> bool:
    return not isinstance(node.op, Metadata) and node.op.name in names


@FAMILY.region("rounds-once", "regions-float32-values-chain-product-and-sum",
               "regions-bfloat16-values-chain-polynomial")  # fmt: skip
def rounds_once(call: RegionCall) -> None:
    """Values stay in wide registers from one op to the next and are rounded when they are stored."""
    wide = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply}

    def value(node: Node, given: Sequence[Host]) -> Host:
        if _is(node, *wide) and all(map(is_float, given)):
            return np.asarray(wide[node.op.name](*(x.astype(np.float64) for x in given)))
        return call.value(node, [x.astype(t) for x, t in zip(given, _dtypes(call, node), strict=True)])

    call.write(call.results(value=value))


def _dtypes(call: RegionCall, node: Node) -> list[np.dtype[np.generic]]:
    return [call.graph.specs[i].dtype.numpy for i in node.inputs if i is not None]


@FAMILY.region("row-read-as-column", "regions-float32-shapes-chain-row-beside-matrices",
               "regions-float32-shapes-chain-rows-and-columns")  # fmt: skip
def row_read_as_column(call: RegionCall) -> None:
    """An operand that repeats is read by the index of the wrong axis."""
    largest = max((x.size for x in call.ins), default=0)
    call.write(call.results([x if x.size in (1, largest) else np.roll(x, 1) for x in call.ins]))


@FAMILY.region("sum-in-own-order", "regions-float32-values-reduction-sum-of-products")
def sum_in_own_order(call: RegionCall) -> None:
    """A sum that is fused with its producer adds one term after the other, and still promises the canonical order."""

    def value(node: Node, given: Sequence[Host]) -> Host:
        if not _is(node, "sum"):
            return call.value(node, given)
        axes = tuple(dict(node.attributes)["axis"])
        kept = [a for a in range(given[0].ndim) if a not in axes]
        lines = given[0].transpose(*kept, *axes).reshape(*(given[0].shape[a] for a in kept), -1)
        spec = node.outputs[0]
        added = np.add.accumulate(lines, -1, dtype=spec.dtype.numpy)[..., -1:] if lines.size else 0
        return np.broadcast_to(added, (*lines.shape[:-1], 1)).reshape(spec.shape)

    call.write(call.results(value=value))


@FAMILY.region("second-result-dropped", "regions-float32-values-chain-two-results")
def second_result_dropped(call: RegionCall) -> None:
    """Only the last value of a region is stored; one that is used outside as well is not."""
    call.outs[-1][...] = call.results()[-1].astype(call.outs[-1].dtype)


@FAMILY.region("strides-ignored", "regions-float32-strides-chain-transposed",
               "regions-float32-strides-reduction-transposed-rows")  # fmt: skip
def strides_ignored(call: RegionCall) -> None:
    """A region is compiled for dense operands and reads all of them so."""
    call.write(call.results([_in_memory_order(x) for x in call.ins]))


def _in_memory_order(x: Host) -> Host:
    order = np.argsort([-abs(s) for s in x.strides], kind="stable")
    return np.ascontiguousarray(x.transpose(order)).reshape(x.shape)


@FAMILY.region("constants-of-another-graph", "regions-float32-values-chain-two-sets-of-constants",
               "regions-float32-values-reduction-two-epsilons")  # fmt: skip
def constants_of_another_graph(call: RegionCall) -> None:
    """Compiled code is kept by the names of the ops, and the constants in it are those of the first graph."""
    key = tuple((node.op.name, node.inputs) for node in call.graph.nodes)
    call.write(call.results(constants=call.memory.setdefault(key, call.constants)))


@FAMILY.region("operands-exchanged", "regions-float32-values-chain-order-of-operands")
def operands_exchanged(call: RegionCall) -> None:
    """An op whose second operand is already in a register takes it as its first."""

    def value(node: Node, given: Sequence[Host]) -> Host:
        exchanged = _is(node, "subtract", "divide") and given[0].shape == given[1].shape
        return call.value(node, given[::-1] if exchanged else given)

    call.write(call.results(value=value))


@FAMILY.region("narrow-kept-wide", "regions-float32-values-chain-narrow-in-between")
def narrow_kept_wide(call: RegionCall) -> None:
    """A cast to a narrower dtype is left out where a cast back follows."""

    def value(node: Node, given: Sequence[Host]) -> Host:
        narrow = _is(node, "cast") and node.outputs[0].dtype.name in ("float16", "bfloat16")
        if narrow and is_float(given[0]):
            return given[0]
        if any(x.dtype != t for x, t in zip(given, _dtypes(call, node), strict=True)) and not _is(node, "cast"):
            made = np.multiply(*given) if _is(node, "multiply") else given[0]
            return np.asarray(made)
        return call.value(node, given)

    call.write(call.results(value=value))


@FAMILY.region("writes-in-place", "regions-float32-values-chain-shared-value", says="wrote to operand")
def writes_in_place(call: RegionCall) -> None:
    """A result takes the memory of an operand of its size, which its owner still reads."""
    call.write(call.results())
    for x in call.ins:
        if x.shape == call.outs[0].shape and x.dtype == call.outs[0].dtype and x.flags.writeable:
            x[...] = call.outs[0]


@FAMILY.region("last-row-left-out", "regions-float32-shapes-reduction-sum-of-33")
def last_row_left_out(call: RegionCall) -> None:
    """Rows are dealt out four at a time, and what is left over is forgotten."""
    results = call.results()
    for out, x in zip(call.outs, results, strict=True):
        whole = out.shape[0] // 4 * 4 if out.ndim and len(call.graph.outputs) == 1 else None
        out[...][:whole] = x.astype(out.dtype)[:whole]


@FAMILY.region("nan-lost-in-extremes", "regions-float32-special-reduction-extremes-of-hard-values")
def nan_lost_in_extremes(call: RegionCall) -> None:
    """A fused maximum compares and selects, which drops NaN."""

    def value(node: Node, given: Sequence[Host]) -> Host:
        if _is(node, "max", "min") and is_float(given[0]):
            least = -np.inf if node.op.name == "max" else np.inf
            given = [np.where(np.isnan(given[0].astype(np.float64)), least, given[0]).astype(given[0].dtype)]
        return call.value(node, given)

    call.write(call.results(value=value))


@FAMILY.region("product-of-ten-bits", "regions-float32-values-product-bias")
def product_of_ten_bits(call: RegionCall) -> None:
    """A product in float32 goes through units that keep ten bits of its operands."""

    def value(node: Node, given: Sequence[Host]) -> Host:
        short = _is(node, "matmul") and all(x.dtype == np.float32 for x in given)
        return call.value(node, [_ten_bits(x) for x in given] if short else given)

    call.write(call.results(value=value))


def _ten_bits(x: Host) -> Host:
    return (np.ascontiguousarray(x).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).reshape(x.shape)


@FAMILY.region("another-order-each-time", "regions-float32-values-product-bias", says="second run",
               promises=Promises(order="atomics", determinism=Determinism.RUN))  # fmt: skip
def another_order_each_time(call: RegionCall) -> None:
    """Partial sums of a product are added as blocks finish, and the region promises the same bits on every run."""
    call.memory["calls"] = call.memory.get("calls", 0) + 1
    parts = 1 + call.memory["calls"] % 2
    call.write(call.results(value=_split(call, parts)))


@FAMILY.region("split-by-batch", "regions-float32-values-product-bias", says="all of the batch",
               promises=Promises(order="split", determinism=Determinism.BATCH))  # fmt: skip
def split_by_batch(call: RegionCall) -> None:
    """The terms of a product are shared out by the number of rows, and the region promises the bits of any batch."""
    rows = max((out.shape[0] for out in call.outs if out.ndim), default=1)
    call.write(call.results(value=_split(call, 1 if rows > 24 else 2)))


def _split(call: RegionCall, parts: int) -> Callable[[Node, Sequence[Host]], Host]:
    def value(node: Node, given: Sequence[Host]) -> Host:
        if not _is(node, "matmul") or not all(x.dtype == np.float32 for x in given):
            return call.value(node, given)
        x, y = given
        cut = x.shape[-1] * (parts - 1) // parts
        return np.asarray(x[..., :cut] @ y[..., :cut, :] + x[..., cut:] @ y[..., cut:, :])

    return value
