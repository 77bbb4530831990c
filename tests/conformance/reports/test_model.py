"""What a page says, before any format says it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opmux.conformance.reports.compare import compare
from opmux.conformance.reports.status import STATUSES, status_of

from .pages import acme, cell, conformant, timed


@pytest.mark.parametrize(
    ("counts", "kernels", "name"),
    [
        ({"pass": 9, "crash": 1, "fail": 3}, ["acme/exp"], "crash"),
        ({"pass": 9, "not_run": 1}, ["acme/exp"], "not_run"),
        ({"pass": 9, "waived": 1}, ["acme/exp"], "waived"),
        ({"pass": 9, "unsupported": 1}, ["acme/exp"], "mixed"),
        ({"pass": 1, "unsupported": 9}, [], "unsupported"),
        ({"pass": 9}, ["decomposition of acme/mul"], "composed"),
        ({"pass": 9}, ["acme/exp", "decomposition of acme/mul"], "pass"),
        ({}, [], "absent"),
    ],
)
def test_the_worst_outcome_decides_how_a_cell_stands(counts: dict[str, int], kernels: list[str], name: str) -> None:
    assert status_of(counts, kernels).name == name


def test_a_promise_that_nobody_made_is_no_gap() -> None:
    given = cell("exp", "float32", "acme/exp", 1.0, **{"pass": 9, "unsupported": 2})
    assert given.status.name == "mixed"
    assert replace(given, unpromised=2).status.name == "pass"


def test_every_status_has_a_sign_of_its_own() -> None:
    assert len({s.sign for s in STATUSES.values()}) == len(STATUSES)


def test_the_share_of_an_error_is_of_the_contracts_bound() -> None:
    worst = cell("exp", "float32", "acme/exp", 1.5).worst
    assert worst is not None
    assert worst.share == pytest.approx(0.5)  # exp is bounded by 3 ULP in float32
    rounded = cell("add", "float32", "acme/add", 0.5).worst
    assert rounded is not None
    assert rounded.rounded


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"conformant": ("core-f32",)}, "conformant"),
        ({"conformant": (), "complete": False}, "not sufficient"),
        ({"conformant": (), "complete": True}, "no profile"),
    ],
)
def test_the_verdict_follows_the_certificate(changes: dict[str, object], verdict: str) -> None:
    assert replace(conformant(), **changes).verdict == verdict  # type: ignore[arg-type]


def test_failures_outweigh_an_incomplete_run() -> None:
    assert acme().verdict == "not conformant"


def test_names_tell_backends_apart() -> None:
    page = conformant()
    assert compare([page, replace(page, version="4.0")]).names == ("globex 3.0", "globex 4.0")
    assert compare([page, replace(page, device="globex:1")]).names == ("globex on globex:0", "globex on globex:1")
    assert compare([page, page]).names == ("globex (1)", "globex (2)")


def test_times_are_compared_where_both_have_some() -> None:
    slow = timed(conformant(), 3.0)
    found = compare([timed(conformant()), slow, conformant()])
    assert len(found.speeds) == 3
    assert found.speeds[0].ratio(1) == pytest.approx(3.0)
    assert found.speeds[0].ratio(2) is None
    assert compare([timed(conformant()), slow]).means("large") == pytest.approx((1.0, 3.0))


def test_times_of_different_devices_come_with_a_caution() -> None:
    other = replace(timed(conformant()), model="Board 2")
    assert "Board 2" in compare([timed(acme()), other]).caution
    assert compare([timed(acme()), timed(acme())]).caution == ""


def test_being_composed_of_other_ops_is_no_difference() -> None:
    own, composed = conformant(), conformant()
    composed = replace(composed, cells=(cell("exp", "float32", "decomposition of x", 0.9, **{"pass": 1}),))
    (op,) = compare([own, composed]).ops
    assert not op.differs
    assert [op.told(i)[0].name for i in range(2)] == ["pass", "composed"]
