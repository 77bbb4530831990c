"""What a policy demands: claims, determinism classes, backends; and what it shares with others."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

import opmux as ox
from opmux.core.dispatch.call import decide_call
from opmux.core.dispatch.claims import CLAIMS, ClaimKey, Verdict
from opmux.core.dispatch.decision import Claim
from opmux.core.op import OPS
from opmux.core.plugins import manager
from opmux.plugin import CostTerms, Determinism, Kernel, Promises
from tests.core.claimed import claimed
from tests.core.planted import Planted, filler

X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


def test_a_refuted_claim_is_out_until_it_is_shown() -> None:
    x = ox.asarray(X)
    device = x.device.info.name
    version = next(s.version for s in manager.status() if s.name == "numpy")
    key = ClaimKey("numpy", version, "add", "float32", device)
    with claimed({key: Verdict(Claim.REFUTED)}):
        rows = {r.candidate: r.reason for r in ox.explain("add", x, x).rows}
        assert rows["numpy/add"] == "claim-refuted"
    with claimed({key: Verdict(Claim.SHOWN, max_ulp=0.5)}), ox.policy(claims="shown"):
        assert ox.explain("add", x, x).chosen == "numpy/add"


def test_tighter_demands_need_shown_claims() -> None:
    x = ox.asarray(X)
    with ox.policy(determinism="canonical"), pytest.raises(ox.UnsupportedError, match="declared only"):
        ox.add(x, x)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"fallback": "maybe"}, "forbid"),
        ({"determinism": "always"}, "canonical"),
        ({"claims": "hoped"}, "shown"),
        ({"speed": 1}, "no setting speed"),
    ],
)
def test_a_wrong_policy_says_what_is_allowed(change: dict[str, object], word: str) -> None:
    with pytest.raises(ox.ArgumentError, match=word), ox.policy(**change):
        pass


def test_policies_with_equal_settings_share_their_decisions() -> None:
    x = ox.asarray(X, copy=True)
    with ox.policy(backends="numpy"):
        first = decide_call(OPS["add"], (x, x), {})
    with ox.policy(backends="numpy", fallback_budget=3):
        assert decide_call(OPS["add"], (x, x), {}) is first


def test_policies_come_and_go_while_the_registry_changes() -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def churn() -> None:
        k = 0
        while not stop.is_set():
            k += 1
            try:
                with ox.policy(pins={"add": f"nobody{k % 97}"}):
                    pass
            except BaseException as error:
                failures.append(error)

    thread = threading.Thread(target=churn)
    thread.start()
    for _ in range(200):
        CLAIMS.record({})
    stop.set()
    thread.join(10)
    assert failures == []


def ordered(name: str, order: str, *, launch: float, memory: float, priority: int = 0) -> Kernel:
    return Kernel(
        name, "sum", "cpu", lambda spec: filler(1.0),
        promises=Promises(order=order, determinism=Determinism.BATCH),
        cost=CostTerms(launch=launch, memory=memory), priority=priority,
    )  # fmt: skip


def test_batch_determinism_binds_the_order_whatever_the_batch() -> None:
    kernels = (ordered("a", "A", launch=0.0, memory=1e-2), ordered("b", "B", launch=1e-3, memory=1.0))
    manager.register("planted", Planted(*kernels))
    device = ox.device("cpu")
    keys = {ClaimKey("planted", "0", n, "float32", device.info.name): Verdict(Claim.SHOWN) for n in "ab"}
    chosen: dict[bool, set[str]] = {True: set(), False: set()}
    try:
        with claimed(keys):
            for batch in (1, 4096):
                x = ox.zeros((batch, 512))
                for bound in (True, False):
                    with ox.policy(pins={"sum": "planted"}, determinism="batch" if bound else "none"):
                        chosen[bound].add(ox.explain("sum", x, axis=1).chosen)
    finally:
        manager.unregister("planted")
    assert chosen[False] == {"planted/a", "planted/b"}
    assert chosen[True] == {"planted/a"}


def test_canonical_needs_the_canonical_order() -> None:
    kernel = Kernel("own", "sum", "cpu", lambda spec: filler(1.0), promises=Promises(determinism=Determinism.CANONICAL))
    manager.register("planted", Planted(kernel))
    try:
        with ox.policy(determinism="canonical"), pytest.raises(ox.UnsupportedError) as e:
            ox.sum(ox.ones(3))
    finally:
        manager.unregister("planted")
    assert "not the canonical one" in str(e.value)


def test_ops_whose_contract_gives_every_bit_are_of_every_class() -> None:
    with ox.policy(determinism="canonical"):
        assert ox.ones(3).tolist() == [1.0, 1.0, 1.0]
        assert ox.sum(ox.asarray([1, 2, 3])).item() == 6


@pytest.mark.parametrize(
    "change",
    [
        {"max_ulp": "1"},
        {"max_ulp": -1},
        {"backends": 3},
        {"pins": "add"},
        {"fallback_budget": "x"},
        {"pins": {"add": 1}},
        {"pins": {"matmull": "numpy"}},
    ],
)
def test_settings_of_a_wrong_type_are_typed_errors(change: dict[str, object]) -> None:
    with pytest.raises((ox.ArgumentError, ox.ArgumentTypeError), match=next(iter(change))), ox.policy(**change):
        pass


def test_a_policy_for_a_backend_that_is_not_there_says_so_first() -> None:
    with ox.policy(backends="nunpy"), pytest.raises(ox.UnsupportedError, match="names nunpy, which is no usable") as e:
        ox.exp(ox.ones(2))
    assert re.search(r"usable: .*\bllvm\b.*\bnumpy\b", str(e.value))  # and others on a machine with more devices
