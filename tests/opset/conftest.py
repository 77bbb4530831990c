"""Running an op's decomposition, and its reference meaning, apart from each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.dispatch.policy import current
from opmux.core.graphs.graph import Graph, Metadata
from opmux.core.graphs.plans import plan_graph
from opmux.core.graphs.trace import capture
from opmux.core.kernel import ArraySpec
from opmux.core.op import OPS, Op, Role
from opmux.core.runtime import ensure_loaded
from opmux.opset.declare import declaration_of

Values = np.ndarray[Any, Any]


def _completed(op: Op, attributes: dict[str, Any]) -> dict[str, Any]:
    return {p.name: p.default for p in op.parameters if p.role is Role.ATTRIBUTE} | attributes


def _captured(op: Op, arrays: list[ox.Array], attributes: dict[str, Any]) -> Graph:
    assert op.decomposition is not None
    graph, _ = capture(op.decomposition, arrays[0].device, [ArraySpec(x.dtype, x.shape) for x in arrays], attributes)
    return graph


def _assert_core(op: Op, graph: Graph) -> None:
    for node in graph.nodes:
        if isinstance(node.op, Metadata) or declaration_of(node.op).core:
            continue
        # A composite may stand in a decomposition; its own decomposition is tested like any other.
        assert not node.op.primitive, f"{op.name} decomposes into {node.op.name}, which is not core"


@pytest.fixture
def decomposed() -> Callable[..., Values]:
    """Run the decomposition of an op, which must consist of core ops, and return the values of its result."""

    def run(name: str, *given: Values, **attributes: Any) -> Values:
        ensure_loaded()
        op, arrays = OPS[name], [ox.asarray(x) for x in given]
        inferred = op.infer(name, tuple(ArraySpec(x.dtype, x.shape) for x in arrays), _completed(op, attributes))
        for i, t in enumerate(inferred.casts):
            arrays[i] = arrays[i] if t is None else ox.astype(arrays[i], t)
        graph = _captured(op, arrays, dict(inferred.attributes))
        _assert_core(op, graph)
        tables = current().slot.tables
        (found,) = plan_graph(graph, tuple(x._sig for x in arrays), arrays[0].device, tables).run(arrays, None)
        (wanted,) = inferred.outputs
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        return found.numpy()

    return run


@pytest.fixture
def meaning() -> Callable[..., Values]:
    """Evaluate the reference body of an op on NumPy arrays, as its rule would normalise the call."""

    def run(name: str, *given: Values, **attributes: Any) -> Values:
        op = OPS[name]
        specs = tuple(ArraySpec(ox.dtype(x.dtype), x.shape) for x in given)
        inferred = op.infer(name, specs, _completed(op, attributes))
        casts = inferred.casts or (None,) * len(given)
        ready = [x if t is None else x.astype(t.numpy) for x, t in zip(given, casts, strict=True)]
        return np.asarray(declaration_of(op).body(np, *ready, **inferred.attributes))

    return run


@pytest.fixture
def same_bits() -> Callable[[Values, Values], None]:
    """Compare values bit by bit, with all NaNs equal."""

    def check(found: Values, wanted: Values) -> None:
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        if found.dtype.kind in "iub":
            np.testing.assert_array_equal(found, wanted)
            return
        nan = np.isnan(wanted)
        np.testing.assert_array_equal(np.isnan(found), nan)
        zero = wanted.dtype.type(0)
        bits = f"u{wanted.dtype.itemsize}"
        np.testing.assert_array_equal(np.where(nan, zero, found).view(bits), np.where(nan, zero, wanted).view(bits))

    return check
