"""The conformance suite's own cases on the region compilers, carried out on the host."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.conformance.cases.case import REGIONS
from opmux.conformance.cases.enumerate import case_ids
from opmux.conformance.cases.regions.family import DTYPES
from opmux.conformance.planted.judge import execute_all
from opmux.conformance.results.outcome import Outcome
from opmux.conformance.target import Target
from opmux.core.dispatch.claims import ClaimKey, Verdict
from opmux.core.dispatch.decision import Claim
from opmux.core.dispatch.registry import REGISTRY
from opmux.core.op import OPS
from opmux.plugin import Kernel
from tests.core.claimed import claimed

#: A few of each family, whose cases run for every commit; each compiles a kernel or two.
QUICK = (
    "regions-float32-values-chain-product-and-sum",
    "regions-float32-values-chain-two-results",
    "regions-float16-values-chain-narrow-in-between",
    "regions-bfloat16-shapes-chain-row-beside-matrices",
    "regions-int32-strides-chain-each-another",
    "regions-bool-values-chain-select-by-mask",
    "regions-float32-shapes-reduction-outer-axes",
    "regions-int8-values-reduction-largest-and-smallest",
    "regions-float32-values-reduction-softmax",
    "regions-bfloat16-values-reduction-layer-norm",
    "regions-float64-shapes-product-batch",
    "regions-float16-values-product-bias",
)
#: Graphs of which no region is compiled, by what stands in the way.
UNTAKEN = frozenset({"reduction-no-rows", "reduction-reshaped-before"})


def check(*ids: str) -> None:
    found = list(execute_all("cuda", ids))
    assert [(r.id, r.message) for r in found if r.outcome not in (Outcome.PASS, Outcome.UNSUPPORTED)] == []
    untaken = {r.id.split("-", 3)[3] for r in found if r.outcome is Outcome.UNSUPPORTED}
    assert untaken <= UNTAKEN


@pytest.mark.parametrize("case", QUICK)
def test_quick_cases_pass(target: Target, case: str) -> None:
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("t", DTYPES)
def test_every_case_of_regions_passes(target: Target, t: str) -> None:
    check(*case_ids(REGIONS, t))


@pytest.mark.parametrize(
    ("case", "shown"),
    [("values-product-bias", True), ("shapes-product-17x33x1", False)],
    ids=["two batches", "one batch"],
)
def test_the_bits_of_any_batch_are_shown_where_batches_were_compared(target: Target, case: str, shown: bool) -> None:
    (found,) = execute_all("cuda", [f"regions-float16-{case}"])
    assert "cuda/region:epilogue.mma:batch on one batch" in found.errors
    assert ("cuda/region:epilogue.mma:batch" in found.errors) is shown


def softmax_by(target: Target, *judged: str) -> list[str]:
    """Return what runs a canonical softmax where some claims are shown beside those of the ops' kernels."""
    names = [k.name for backend, k in kernels_of(target) if backend == "cuda"]
    keys = {
        ClaimKey("cuda", REGISTRY.version("cuda"), n, "float32", target.device.info.name) for n in (*names, *judged)
    }
    x = ox.asarray(np.ones((4, 64), np.float32), device=target.device)
    policy = ox.policy(backends={"cuda"}, fallback="forbid", determinism="canonical")
    with claimed({key: Verdict(Claim.SHOWN) for key in keys}), policy, ox.count_calls() as seen:
        ox.softmax(x)
    return [c.decision.chosen.name.partition(":")[0] for c in seen.steps()]


def kernels_of(target: Target) -> list[tuple[str, Kernel]]:
    return [entry for op in OPS for entry in REGISTRY.kernels(op.name, target.device.kind)]


def test_a_canonical_softmax_is_one_region_where_its_family_is_shown(target: Target) -> None:
    assert softmax_by(target, "region:rows:canonical") == ["cuda/rows"]
    assert len(softmax_by(target)) > 1
