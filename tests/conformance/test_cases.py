"""What is enumerated: every op has samples and cases, ids are exact and unique, special sentences are read."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.conformance.cases import layouts, values
from opmux.conformance.cases.case import KINDS
from opmux.conformance.cases.enumerate import all_pairs, cases
from opmux.conformance.cases.samples.sample import has_samples, samples
from opmux.conformance.cases.samples.specials import specials, token
from opmux.core.errors import ConformanceError
from opmux.core.op import OPS, Op
from opmux.opset.declare import declaration_of
from opmux.opset.profiles import PROFILES


@pytest.mark.parametrize("op", list(OPS), ids=lambda op: op.name)
def test_every_op_has_samples(op: Op) -> None:
    assert has_samples(op)
    first = declaration_of(op).dtypes[0]
    assert any(s.kind == "values" for s in samples(op, first, quick=True))


@pytest.mark.parametrize("op", list(OPS), ids=lambda op: op.name)
def test_every_sentence_applies_to_some_dtype(op: Op) -> None:
    declared = declaration_of(op)
    applied = {s.sentence for t in declared.dtypes for s in specials(op, t)}
    assert applied == set(declared.specials)


def test_a_sentence_that_cannot_be_read_is_a_fault_of_the_opset() -> None:
    import dataclasses

    declared = dataclasses.replace(declaration_of(OPS["exp"]), specials=("exp of -inf is 0",))
    with pytest.raises(ConformanceError, match="sentence"):
        specials(dataclasses.replace(OPS["exp"], declaration=declared), ox.float32)


@pytest.mark.parametrize(
    ("text", "value"),
    [("-0", -0.0), ("7", 7), ("+inf", np.inf), ("-3pi/4", -3 * np.pi / 4), ("True", True), ("[1, [-1]]", [1, [-1]])],
)
def test_tokens(text: str, value: object) -> None:
    found = token(text)
    assert found == (pytest.approx(value) if isinstance(value, float) else value)
    if value == 0:
        assert np.signbit(found)


def test_ids_are_unique_and_name_op_dtype_and_kind() -> None:
    for name in ("exp", "add", "sum", "matmul", "cast", "gather"):
        ids = [c.id for c in cases(name, "float32")]
        assert len(ids) == len(set(ids))
        assert all(i.startswith(f"{name}-float32-") for i in ids)
        assert {i.split("-")[2] for i in ids} <= set(KINDS)


@pytest.mark.parametrize(
    "case",
    [
        "exp-float32-values", "exp-float32-special-exp(-inf) -> +0", "add-float32-strides-transposed",
        "sum-float16-shapes-empty", "exp-bfloat16-exhaustive", "add-float64-aliasing-overlapping-views",
        "exp-float32-out-operand0", "add-float64-promotion-float16,float64", "sum-bool-errors-axis",
        "exp-float16-refusal",
    ],
)  # fmt: skip
def test_ids_by_which_people_know_cases(case: str) -> None:
    op, dtype = case.split("-")[:2]
    assert case in {c.id for c in cases(op, dtype)}


def test_the_profiles_are_covered() -> None:
    enumerated = set(all_pairs())
    for profile in PROFILES.values():
        assert profile.pairs <= enumerated, profile.name


def test_exhaustive_values_are_all_there_are() -> None:
    everything = values.exhaustive(ox.bfloat16)
    assert len(np.unique(everything.view(np.uint16))) == 1 << 16


def test_stratified_values_meet_every_exponent() -> None:
    drawn = values.stratified(ox.float32, 1 << 14).astype(np.float64)
    exponents = np.unique(np.frexp(drawn[np.isfinite(drawn) & (drawn != 0)])[1])
    assert len(exponents) >= 254


def test_values_depend_on_the_seed_alone() -> None:
    first = values.moderate(ox.float32, (4, 5), "a")
    np.testing.assert_array_equal(first, values.moderate(ox.float32, (4, 5), "a"))
    assert (first != values.moderate(ox.float32, (4, 5), "b")).any()


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_layouts_keep_values_and_change_strides(name: str) -> None:
    x = values.moderate(ox.bfloat16, (3, 4))
    x = layouts.constant_lines(x) if name == "zero" else x
    laid = layouts.LAYOUTS[name](x, ox.device("cpu"))
    np.testing.assert_array_equal(laid.numpy(), x)
    assert laid.strides != (4, 1)
