"""What a page says, before any format says it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opmux.conformance.reports.compare import OpRow, compare
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


def _beside(*counts: tuple[dict[str, int], dict[str, int]]) -> OpRow:
    """Two backends side by side, with these counts per dtype of one op."""
    pages = []
    for i in range(2):
        cells = tuple(
            cell("add", t, "x/add", **c[i]) for t, c in zip(("float32", "float64", "int8"), counts, strict=False)
        )
        pages.append(replace(conformant(), cells=cells))
    (op,) = compare(pages).ops
    return op


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        (({"pass": 1}, {"pass": 1}), "2"),
        (({"pass": 1, "unsupported": 1}, {"pass": 1, "unsupported": 1}), "2 of 2 in part"),
        (({"pass": 1}, {"pass": 1, "unsupported": 1}), "1 of 2, 1 in part"),
        (({"pass": 1}, {"unsupported": 1}), "1 of 2"),
    ],
)
def test_dtypes_that_pass_in_part_are_counted(counts: tuple[dict[str, int], ...], says: str) -> None:
    assert _beside(*((c, c) for c in counts)).told(0)[1] == says


def test_what_all_refuse_is_agreed_upon_and_what_all_fail_is_not() -> None:
    refused, failed = {"unsupported": 1}, {"fail": 1}
    found = _beside((refused, refused), (failed, failed), (refused, failed))
    assert [p.agreed for p in found.pairs] == [False, True, False]
    assert not found.agreed


def test_being_composed_of_other_ops_is_no_difference() -> None:
    own, composed = conformant(), conformant()
    composed = replace(composed, cells=(cell("exp", "float32", "decomposition of x", 0.9, **{"pass": 1}),))
    (op,) = compare([own, composed]).ops
    assert not op.differs
    assert [op.told(i)[0].name for i in range(2)] == ["pass", "composed"]
