"""Cases as data, and the check that a result must pass before it counts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from opmux.benchmarks.case import Case
from opmux.benchmarks.errors import UnknownNameError, WrongResultError
from opmux.benchmarks.kinds import as_given, draw, expected, make_case
from opmux.benchmarks.suites import SUITES


def test_a_case_survives_the_way_to_a_worker() -> None:
    case = make_case("matmul", "float64", (3, 4, 5), (3, 5, 6), limit="flops", transposed="ab")
    assert Case.from_data(json.loads(json.dumps(case.to_data()))) == case


def test_flops_and_bytes_of_a_product() -> None:
    case = make_case("matmul", "float32", (7, 4, 5), (7, 5, 6))
    assert case.flops == 7 * 2 * 4 * 5 * 6
    assert case.bytes == 4 * 7 * (4 * 5 + 5 * 6 + 4 * 6)


def test_bytes_of_a_selection_count_its_condition_as_bytes() -> None:
    assert make_case("where", "float64", (10,), (10,), (10,)).bytes == 10 + 3 * 80


def test_transposed_operand_is_stored_the_other_way_round() -> None:
    case = make_case("matmul", "float32", (4, 5), (5, 6), transposed="b")
    stored = draw(case, 1)
    assert [x.shape for x in stored] == [(4, 5), (6, 5)]
    assert [x.shape for x in as_given(case, stored)] == [(4, 5), (5, 6)]


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("quick", [True, False])
def test_names_of_cases_are_unique(name: str, quick: bool) -> None:
    names = [case.name for case in SUITES[name].cases(quick)]
    assert len(set(names)) == len(names) > 0


@pytest.mark.parametrize("name", SUITES)
def test_every_target_names_a_case(name: str) -> None:
    names = {case.name for case in SUITES[name].cases(False)}
    assert {case for target in SUITES[name].targets for case in target.cases} <= names


def test_a_product_rounded_once_more_passes_and_one_wrong_element_does_not() -> None:
    case = make_case("matmul", "float32", (64, 128), (128, 32))
    a, b = draw(case, 1)
    result = a @ b
    check = expected(case, (a, b)).check
    assert 0 < check(result) < 1
    result[5, 7] += np.float32(0.01)
    with pytest.raises(WrongResultError, match=r"1 of 2048 elements are wrong, the first at \(5, 7\)"):
        check(result)


def test_a_product_of_the_wrong_operand_order_is_wrong() -> None:
    case = make_case("matmul", "float64", (16, 16), (16, 16))
    a, b = draw(case, 1)
    with pytest.raises(WrongResultError, match="elements are wrong"):
        expected(case, (a, b)).check(b @ a)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_wrong(bad: float) -> None:
    case = make_case("exp", "float32", (8,))
    (x,) = draw(case, 1)
    result = np.exp(x)
    result[0] = bad
    with pytest.raises(WrongResultError, match="1 of 8"):
        expected(case, (x,)).check(result)


def test_shape_and_dtype_must_be_right() -> None:
    case = make_case("sum", "float32", (4, 6), axis=0)
    (x,) = draw(case, 1)
    with pytest.raises(WrongResultError, match="expected float32"):
        expected(case, (x,)).check(x.astype(np.float64).sum(0))
    with pytest.raises(WrongResultError, match=r"expected float32\[6\]"):
        expected(case, (x,)).check(x.sum(1))


def test_an_index_must_be_exact() -> None:
    case = make_case("argmax", "float32", (5, 9), axis=1)
    (x,) = draw(case, 1)
    result = np.argmax(x, 1)
    assert expected(case, (x,)).check(result) == 0
    with pytest.raises(WrongResultError):
        expected(case, (x,)).check((result + 1) % 9)


def test_unknown_kind() -> None:
    with pytest.raises(UnknownNameError, match="no kind 'expp'"):
        draw(Case("expp", "float32", ((3,),)), 1)
