"""Regions: how graphs are cut, offered, refused, weighed and run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.dispatch.claims import ClaimKey, Verdict
from opmux.core.dispatch.decision import Claim
from opmux.core.dispatch.registry import REGISTRY
from opmux.core.plugins import manager
from opmux.plugin import CallSpec, CostTerms, Determinism, Graph, Kernel, Prepared, Promises, Refusal, hookimpl
from tests.core.claimed import claimed

X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
UFUNCS = {"add": np.add, "multiply": np.multiply, "exp": np.exp, "negative": np.negative}


class Chains:
    """A region compiler that takes chains of a few elementwise ops and runs them through NumPy in one kernel."""

    device = "cpu"

    def __init__(self, cost: CostTerms = CostTerms()) -> None:  # noqa: B008 - frozen
        self.offers: list[int] = []
        self.runs = 0
        self._cost = cost

    def compile(self, graph: Graph, device: ox.Device) -> Kernel | Refusal:
        self.offers.append(len(graph.nodes))
        for i, node in enumerate(graph.nodes):
            if node.op.name not in UFUNCS:
                return Refusal(i, f"{node.op.name} is not elementwise")

        def prepare(spec: CallSpec) -> Prepared:
            def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
                self.runs += 1
                values = [x.host for x in (*ins, *graph.constants)]
                for node in graph.nodes:
                    values.append(UFUNCS[node.op.name](*[values[i] for i in node.inputs if i is not None]))
                for out, i in zip(outs, graph.outputs, strict=True):
                    out.host[...] = values[i]

            return Prepared(launch)

        return Kernel("chain", f"region:{graph.digest[:12]}", "cpu", prepare, cost=self._cost)


class Plugin:
    def __init__(self, compiler: Chains) -> None:
        self._compiler = compiler

    @hookimpl
    def opmux_region_compilers(self) -> list[Chains]:
        return [self._compiler]


@pytest.fixture
def chains(request: pytest.FixtureRequest) -> Iterator[Chains]:
    compiler = Chains(getattr(request, "param", CostTerms()))
    manager.register("chains", Plugin(compiler))
    yield compiler
    manager.unregister("chains")


def test_a_whole_chain_is_one_region(chains: Chains) -> None:
    f = ox.compile(lambda x: ox.exp(-x) * x + x)
    assert np.allclose(f(ox.asarray(X)).numpy(), np.exp(-X) * X + X)
    assert chains.runs == 1
    assert chains.offers == [4]


def test_a_refused_node_is_cut_out_and_the_rest_is_offered_again(chains: Chains) -> None:
    f = ox.compile(lambda x: ox.exp(ox.sum(-x + x, axis=0) + x) * x)
    assert np.allclose(f(ox.asarray(X)).numpy(), np.exp(np.zeros_like(X) + X) * X)
    # All of it; what is before the sum; from the sum on, which is refused at once; what is after it.
    assert chains.offers == [6, 2, 4, 3]
    assert chains.runs == 2


def test_values_used_outside_leave_the_region(chains: Chains) -> None:
    def g(x: ox.Array) -> tuple[ox.Array, ox.Array]:
        negated = -x
        return negated, ox.exp(negated) + x

    first, second = ox.compile(g)(ox.asarray(X))
    assert first.tolist() == (-X).tolist()
    assert np.allclose(second.numpy(), np.exp(-X) + X)
    assert chains.runs == 1


def test_composites_are_opened_for_regions(chains: Chains) -> None:
    f = ox.compile(lambda x: ox.square(x) + x)
    assert f(ox.asarray(X)).tolist() == (X * X + X).tolist()
    assert chains.runs == 1


@pytest.mark.parametrize("chains", [CostTerms(launch=10.0)], indirect=True)
def test_a_dear_region_loses_to_its_ops(chains: Chains) -> None:
    f = ox.compile(lambda x: ox.exp(-x) + x)
    assert np.allclose(f(ox.asarray(X)).numpy(), np.exp(-X) + X)
    assert chains.runs == 0


def test_a_pin_keeps_regions_of_other_backends_out(chains: Chains) -> None:
    f = ox.compile(lambda x: ox.exp(-x) + x)
    with ox.policy(backends=["numpy", "llvm"]):
        assert np.allclose(f(ox.asarray(X)).numpy(), np.exp(-X) + X)
    assert chains.runs == 0


def test_a_nonsense_answer_names_the_backend(chains: Chains) -> None:
    chains.compile = lambda graph, device: Refusal(99, "?")  # type: ignore[method-assign]
    f = ox.compile(lambda x: ox.exp(-x) + x)
    with pytest.warns(ox.PluginWarning, match="region compiler of chains"):
        assert np.allclose(f(ox.asarray(X)).numpy(), np.exp(-X) + X)


def test_a_compiler_that_fails_costs_only_its_region(chains: Chains) -> None:
    def fail(graph: Graph, device: ox.Device) -> Kernel:
        raise RuntimeError("no licence")

    chains.compile = fail  # type: ignore[method-assign]
    with pytest.warns(ox.PluginWarning, match="no licence"):
        assert ox.compile(lambda x: ox.exp(x) + x)(ox.asarray(X)).shape == (2, 2)


def test_an_op_pinned_elsewhere_stays_out_of_regions(chains: Chains) -> None:
    f = ox.compile(lambda x: ox.negative(ox.exp(x * x + x)) + x)
    with ox.policy(pins={"exp": "numpy"}), ox.count_calls() as seen:
        assert np.allclose(f(ox.asarray(X)).numpy(), -np.exp(X * X + X) + X)
    assert "numpy/exp" in {c.decision.chosen.name for c in seen.steps()}
    assert chains.runs == 2


def test_a_pinned_composite_is_not_opened(chains: Chains) -> None:
    override = Kernel(
        "own", "square", "cpu", lambda spec: Prepared(lambda outs, ins, workspace, queue: outs[0].host.fill(42.0))
    )

    class Own:
        @hookimpl
        def opmux_kernels(self) -> list[Kernel]:
            return [override]

    manager.register("own", Own())
    try:
        with ox.policy(pins={"square": "own"}):
            assert ox.compile(lambda x: ox.square(x) + x)(ox.asarray(X)).tolist() == (X + 42).tolist()
    finally:
        manager.unregister("own")


def test_compiled_calls_and_their_regions_are_observed(chains: Chains) -> None:
    f = ox.compile(lambda x: ox.exp(-x) + x)
    with ox.count_calls() as seen:
        f(ox.asarray(X))
    assert [c.decision.op.name.partition(":")[0] for c in seen.most_expensive()] == ["compiled"]
    assert [c.decision.chosen.name for c in seen.steps()] == ["chains/chain"]


def test_equal_captures_have_equal_digests() -> None:
    def build() -> Graph | None:
        return ox.compile(lambda x: ox.exp(x * 2.0)).graph(ox.asarray(X))

    assert build() == build()
    other = ox.compile(lambda x: ox.exp(x * 3.0)).graph(ox.asarray(X))
    assert build() != other


def test_an_op_that_conformance_refuted_stays_out_of_its_backends_regions(chains: Chains) -> None:
    wrong = Kernel("exp", "exp", "cpu", lambda spec: Prepared(lambda outs, ins, workspace, queue: None))

    class Wrong(Plugin):
        @hookimpl
        def opmux_kernels(self) -> list[Kernel]:
            return [wrong]

    manager.unregister("chains")
    manager.register("chains", Wrong(chains))
    key = ClaimKey("chains", REGISTRY.version("chains"), "exp", "float32", ox.asarray(X).device.info.name)
    f = ox.compile(lambda x: ox.negative(ox.exp(x * x + x)) + x)
    with claimed({key: Verdict(Claim.REFUTED)}):
        assert np.allclose(f(ox.asarray(X)).numpy(), -np.exp(X * X + X) + X)
    assert chains.offers == [2, 2]


def test_arrays_of_the_surroundings_are_operands_of_regions(chains: Chains) -> None:
    kept, one = ox.asarray(X), ox.asarray(np.float32([3]))
    seen: list[Graph] = []
    compile = chains.compile
    chains.compile = lambda graph, device: seen.append(graph) or compile(graph, device)  # type: ignore[func-returns-value,method-assign]
    found = ox.compile(lambda x: (x + kept) * one)(ox.asarray(X + 1))
    assert found.tolist() == (((X + 1) + X) * 3).tolist()
    assert chains.runs == 1
    assert [(len(g.inputs), [c.shape for c in g.constants]) for g in seen] == [(2, [(1,)])]


@pytest.mark.parametrize(("order", "runs"), [("own", 1), ("other", 0)])
def test_a_region_keeps_the_order_that_binds_its_ops(order: str, runs: int) -> None:
    """Where the same bits in any batch are demanded, shapes must not decide between a region and its ops."""

    def prepare(spec: CallSpec) -> Prepared:
        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            outs[0].host[...] = UFUNCS[spec.op](*(x.host for x in ins))

        return Prepared(launch)

    def promised(order: str) -> Promises:
        return Promises(order=order, determinism=Determinism.BATCH)

    class Ordered(Chains):
        def compile(self, graph: Graph, device: ox.Device) -> Kernel | Refusal:
            made = super().compile(graph, device)
            return replace(made, promises=promised(order)) if isinstance(made, Kernel) else made

    class Own(Plugin):
        @hookimpl
        def opmux_kernels(self) -> list[Kernel]:
            return [Kernel(op, op, "cpu", prepare, promises=promised("own"), priority=9) for op in ("exp", "negative")]

    compiler, x = Ordered(), ox.asarray(X)
    manager.register("own", Own(compiler))
    keys = [
        ClaimKey("own", REGISTRY.version("own"), k, "float32", x.device.info.name) for k in ("exp", "negative", "chain")
    ]
    try:
        with claimed({key: Verdict(Claim.SHOWN) for key in keys}), ox.policy(determinism="batch"):
            assert np.allclose(ox.compile(lambda x: ox.exp(-x))(x).numpy(), np.exp(-X))
    finally:
        manager.unregister("own")
    assert compiler.runs == runs
