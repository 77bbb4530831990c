"""What every declaration must say, and how many there are."""

from __future__ import annotations

import math

import pytest

import opmux as ox
from opmux.core.op import OPS, Op
from opmux.opset.accuracy import Ulp
from opmux.opset.declare import declaration_of
from opmux.opset.specials import Special, parse

EVERY = sorted(OPS, key=lambda op: op.name)
PRIMITIVES = [op for op in EVERY if op.primitive]
CASES = [(op, parse(s)) for op in EVERY for s in declaration_of(op).specials]
SIMPLE = [(op, case) for op, case in CASES if op.primitive and "elementwise" in op.facts]


def test_there_are_as_many_primitives_as_the_design_allows() -> None:
    assert 80 <= len(PRIMITIVES) <= 95


def test_about_thirty_are_core() -> None:
    assert 28 <= sum(declaration_of(op).core for op in PRIMITIVES) <= 32


@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
def test_declaration_is_complete(op: Op) -> None:
    said = declaration_of(op)
    assert said.doc.split("\n")[0].endswith(".")
    assert ">>> " in said.doc
    assert said.dtypes
    assert len(set(said.dtypes)) == len(said.dtypes)


@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
def test_every_primitive_that_is_not_core_has_a_decomposition(op: Op) -> None:
    # The optional complex profile is made of these three.
    if not declaration_of(op).core and op.name not in ("real", "imag", "complex"):
        assert op.decomposition is not None


@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
def test_bounds_cover_every_floating_dtype(op: Op) -> None:
    said = declaration_of(op)
    if isinstance(said.accuracy, Ulp):
        floating = [t.name for t in said.dtypes if "floating" in t.kind]
        assert [t for t in floating if said.accuracy.bound(t) < 0.5] == []


def test_every_op_is_public() -> None:
    assert [op.name for op in EVERY if getattr(getattr(ox, op.name, None), "op", None) is not op] == []


@pytest.mark.parametrize(("op", "case"), CASES, ids=[case.sentence for _, case in CASES])
def test_special_case_speaks_of_its_op_and_some_dtype(op: Op, case: Special) -> None:
    assert case.op == op.name
    assert any(case.fits(t, op) for t in declaration_of(op).dtypes)


def _same(found: float, wanted: float) -> bool:
    if math.isnan(wanted):
        return math.isnan(found)
    signed = isinstance(wanted, float)
    return found == wanted and (not signed or math.copysign(1, found) == math.copysign(1, wanted))


@pytest.mark.parametrize(("op", "case"), SIMPLE, ids=[case.sentence for _, case in SIMPLE])
def test_special_case_holds(op: Op, case: Special) -> None:
    for t in declaration_of(op).dtypes:
        if "complex" in t.kind or not case.fits(t, op):
            continue
        leading = () if op.promotes is None else set(range(len(case.operands))) - set(op.promotes)
        operands = [ox.asarray([v], dtype=ox.bool if i in leading else t) for i, v in enumerate(case.operands)]
        found = getattr(ox, op.name)(*operands).tolist()[0]
        assert isinstance(case.result, bool | int | float)
        if case.near:
            assert math.isclose(found, case.result, rel_tol=0.01), t
        else:
            assert _same(found, case.result), (t, found)
