"""A graph's nodes one by one in NumPy: recipes for what is elementwise, the canonical orders for what is reduced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from opmux.core.graphs.graph import Graph, Node
from opmux.opset import orders
from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.registry import recipe_for

Array = np.ndarray[Any, Any]


def _extreme(x: Array, axis: Any, least: bool) -> Array:
    """The largest or least value: -0 below +0, and NaN beyond all."""
    if x.dtype.kind in "biu":  # float64 has no room for all of 64 bits
        return (x.min if least else x.max)(axis)
    wide = x.astype(np.float64)
    bits = wide.view(np.int64)
    keys = np.where(np.isnan(wide), np.iinfo(np.int64).max, bits ^ (bits >> 63 & np.iinfo(np.int64).max))
    keys = np.where(np.isnan(wide) | (not least), keys, ~keys).max(axis)
    found = np.where(keys == np.iinfo(np.int64).max, keys, ~keys if least else keys)
    values = (found ^ (found >> 63 & np.iinfo(np.int64).max)).view(np.float64)
    return np.where(keys == np.iinfo(np.int64).max, np.nan, values).astype(x.dtype)


REDUCTIONS: dict[str, Callable[..., Array]] = {
    "sum": lambda x, axis, t: orders.canonical_sum(x, axis, dtype=t),
    "prod": lambda x, axis, t: orders.canonical_prod(x, axis, dtype=t),
    "max": lambda x, axis, t: _extreme(x, axis, False),
    "min": lambda x, axis, t: _extreme(x, axis, True),
    "all": lambda x, axis, t: x.astype(bool).all(axis),
    "any": lambda x, axis, t: x.astype(bool).any(axis),
    "argmax": lambda x, axis, t: np.argmax(x, axis),
    "argmin": lambda x, axis, t: np.argmin(x, axis),
}
VIEWS: dict[str, Callable[..., Array]] = {
    "reshape": np.reshape, "permute_dims": np.transpose, "broadcast_to": np.broadcast_to,
}  # fmt: skip


def _node(graph: Graph, node: Node, given: list[Array]) -> Array:
    name, out = node.op.name, node.outputs[0]
    if name in VIEWS:
        return VIEWS[name](given[0], *node.arguments)  # type: ignore[union-attr]
    attributes = dict(node.attributes)
    if name in REDUCTIONS:
        return np.asarray(REDUCTIONS[name](given[0], attributes["axis"], out.dtype.numpy)).reshape(out.shape)
    program = recipe_for(name, [graph.specs[i].dtype for i in node.inputs if i is not None], attributes)
    assert not isinstance(program, str), program
    return evaluate(program, *np.broadcast_arrays(*given)).reshape(out.shape)


def carried_out(graph: Graph, *arrays: Array) -> list[Array]:
    """Return a graph's results, every node's rounded to its dtype."""
    values = [*arrays, *(c.numpy() for c in graph.constants)]
    for node in graph.nodes:
        values.append(_node(graph, node, [values[i] for i in node.inputs if i is not None]))
    return [values[i] for i in graph.outputs]
