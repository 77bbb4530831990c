"""Processes beside the run, which make the same calls with other numbers of threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opmux.conformance.cases.ops.siblings import Sibling
from opmux.conformance.target import targets
from opmux.core.dispatch.claims import ClaimKey, Verdict
from opmux.core.dispatch.decision import Claim
from opmux.core.dispatch.registry import REGISTRY
from opmux.core.plugins import manager, proofs
from opmux.core.runtime import ensure_loaded

NAME = "llvm"


@pytest.fixture
def _refuted() -> None:
    """An earlier run has refuted a kernel, and every process that loads the backend knows."""
    ensure_loaded()
    (target,) = targets(NAME)
    version = REGISTRY.contributions[NAME].version
    key = ClaimKey(NAME, version, "sum", "float32", target.device.info.name)
    proofs.keep(NAME, version, manager.package_folder(NAME), {key: Verdict(Claim.REFUTED)})


@pytest.fixture
def asked() -> Iterator[Sibling]:
    made = Sibling(NAME, 3)
    yield made
    made.close()


@pytest.mark.usefixtures("_refuted")
def test_what_an_earlier_run_refuted_is_forgotten(asked: Sibling) -> None:
    found = asked.digests("cpu:0", "sum", "float32")
    assert {key.split()[1] for key in found} == {"llvm/sum"}
