"""Claims of regions: judged by family, they decide where proof is demanded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.dispatch.claims import CLAIMS, ClaimKey, Verdict
from opmux.core.dispatch.decision import Claim
from opmux.core.dispatch.explanation import explanation_of
from opmux.core.dispatch.policy import current
from opmux.core.dispatch.registry import REGISTRY
from opmux.core.graphs.plans import region_planner
from opmux.core.graphs.trace import capture_function
from opmux.core.kernel import Reason
from opmux.core.plugins import manager
from opmux.plugin import (
    CANONICAL,
    ArraySpec,
    CallSpec,
    Determinism,
    Graph,
    Kernel,
    Prepared,
    Promises,
    Refusal,
    hookimpl,
)
from tests.core.claimed import claimed
from tests.core.test_regions import UFUNCS, Chains, X

#: Kernels of the backend, each alone right and canonical.
OPS = ("exp", "negative", "add", "multiply")
NAME = "families"


def op_kernel(op: str) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared:
        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            outs[0].host[...] = UFUNCS[spec.op](*(x.host for x in ins))

        return Prepared(launch)

    return Kernel(op, op, "cpu", prepare, promises=CANONICAL)


class Families(Chains):
    """A compiler whose regions are of a family and promise the canonical class."""

    promises = CANONICAL

    def compile(self, graph: Graph, device: ox.Device) -> Kernel | Refusal:
        made = super().compile(graph, device)
        return replace(made, promises=self.promises, family="chain") if isinstance(made, Kernel) else made


class Plugin:
    def __init__(self, compiler: Chains) -> None:
        self._compiler = compiler

    @hookimpl
    def opmux_kernels(self) -> list[Kernel]:
        return [op_kernel(op) for op in OPS]

    @hookimpl
    def opmux_region_compilers(self) -> list[Chains]:
        return [self._compiler]


@pytest.fixture
def compiler() -> Iterator[Families]:
    made = Families()
    manager.register(NAME, Plugin(made))
    with claimed({}), ox.policy(backends={NAME}):
        record(Claim.SHOWN, *OPS)
        yield made
    manager.unregister(NAME)


def record(level: Claim, *judged: str, dtype: str = "float32", worst: float | None = 0.5) -> None:
    version, model = REGISTRY.version(NAME), ox.asarray(X).device.info.name
    CLAIMS.record({ClaimKey(NAME, version, name, dtype, model): Verdict(level, worst) for name in judged})


def run(function: Callable[[Any], Any] = lambda x: ox.exp(-x) * x, x: Any = X) -> Any:
    return ox.compile(function)(ox.asarray(x)).numpy()


@pytest.mark.parametrize("demand", [{"determinism": "canonical"}, {"claims": "shown"}, {"max_ulp": 1.0}], ids=str)
def test_a_tighter_demand_takes_a_region_of_a_shown_family(compiler: Families, demand: dict[str, Any]) -> None:
    with ox.policy(**demand):
        assert np.allclose(run(), np.exp(-X) * X)
        assert compiler.runs == 0
        record(Claim.SHOWN, "region:chain:canonical", worst=None)
        assert np.allclose(run(), np.exp(-X) * X)
    assert compiler.runs == 1


def test_what_is_shown_on_one_dtype_says_nothing_of_another(compiler: Families) -> None:
    record(Claim.SHOWN, "region:chain:canonical")
    record(Claim.SHOWN, *OPS, dtype="float64")
    with ox.policy(determinism="canonical"):
        run(x=X.astype(np.float64))
    assert compiler.runs == 0


def test_a_family_is_judged_apart_for_each_class_that_it_promises(compiler: Families) -> None:
    record(Claim.SHOWN, "region:chain:run")
    with ox.policy(determinism="canonical"):
        run()
    assert compiler.runs == 0
    compiler.promises = Promises(order="own", determinism=Determinism.RUN)
    with ox.policy(determinism="run"):
        run()
    assert compiler.runs == 1


def test_a_bound_needs_nodes_whose_canonical_bits_are_within_it(compiler: Families) -> None:
    record(Claim.SHOWN, "region:chain:canonical")
    with ox.policy(max_ulp=0.5):
        run()
    assert compiler.runs == 1
    compiler.promises = Promises(order="own", determinism=Determinism.RUN)
    record(Claim.SHOWN, "region:chain:run", worst=None)
    with ox.policy(max_ulp=0.5):
        run(lambda x: ox.exp(-x) + x)
    assert compiler.runs == 1


def test_a_device_that_flushes_subnormals_keeps_no_bound_by_canonical_bits(
    compiler: Families, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = ox.asarray(X).device
    monkeypatch.setattr(device, "info", replace(device.info, flushes_subnormals=True))
    record(Claim.SHOWN, "region:chain:canonical", worst=None)
    with ox.policy(max_ulp=0.5):
        assert np.allclose(run(), np.exp(-X) * X)
    assert compiler.runs == 0


def test_a_refuted_family_is_not_used(compiler: Families) -> None:
    record(Claim.REFUTED, "region:chain:canonical")
    assert np.allclose(run(), np.exp(-X) * X)
    assert compiler.runs == 0
    assert compiler.offers == [3, 2, 2]  # less and less, for another family may take that


def test_regions_whose_every_bit_is_given_need_no_proof(compiler: Families) -> None:
    with ox.policy(determinism="canonical"):
        assert run(lambda x: ox.negative(x) * x + x, np.array([[1, -2]], np.int32)).tolist() == [[0, -6]]
    assert compiler.runs == 1


def test_the_explanation_shows_the_claim_of_a_region(compiler: Families) -> None:
    function = ox.compile(lambda x: ox.exp(-x) * x)
    with ox.count_calls() as seen:
        function(ox.asarray(X))
    (step,) = seen.steps()
    assert (step.decision.chosen.name, step.decision.chosen.claim) == (f"{NAME}/chain", Claim.DECLARED)
    record(Claim.SHOWN, "region:chain:canonical")
    with ox.count_calls() as seen:
        function(ox.asarray(X))
    explained = explanation_of(seen.most_expensive()[0].decision)
    assert [(part.candidate, part.claim) for part in explained.rows[0].parts] == [(f"{NAME}/chain", "shown")]
    assert f"{NAME}/chain" in str(explained)


def test_a_region_that_is_not_shown_says_so(compiler: Families) -> None:
    x = ox.asarray(X)
    graph = capture_function(lambda x: ox.exp(-x), x.device, [ArraySpec(x.dtype, x.shape)], {}).graph
    kernel = compiler.compile(graph, x.device)
    assert isinstance(kernel, Kernel)
    with ox.policy(determinism="canonical"):
        candidate = region_planner(graph, (x._sig,), x.device, current().slot.tables).kernel(NAME, kernel)
    assert candidate.rejection is not None
    assert candidate.rejection.reason is Reason.CLAIM_NOT_SHOWN
    assert "chain regions" in candidate.rejection.detail


@pytest.mark.parametrize("wrong", [{"family": "chain"}, {"name": "region:chain:none"}], ids=str)
def test_a_kernel_of_an_op_is_of_no_family(wrong: dict[str, Any]) -> None:
    class Wrong:
        @hookimpl
        def opmux_kernels(self) -> list[Kernel]:
            return [replace(op_kernel("exp"), **wrong)]

    with pytest.raises(ox.PluginError, match="family of a region"):
        manager.register("wrong-family", Wrong())
