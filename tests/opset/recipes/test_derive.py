"""The derivation: known polynomials come out, and the committed constants are what it computes."""

import sys

import pytest
from mpmath import mp, mpf

from opmux.opset.recipes import derive as module
from opmux.opset.recipes.coefficients import CONSTANTS, POLYNOMIALS
from opmux.opset.recipes.derive import Fit, Split, derive, split
from opmux.opset.recipes.fits import FITS, SPLITS


def test_a_polynomial_is_its_own_fit() -> None:
    fit = Fit("p", "float64", lambda t: 3 * t**2 - t + 0.5, (-1, 1), 2, lambda t: mpf(1))
    assert derive(fit).coefficients == (3.0, -1.0, 0.5)


def test_the_minimax_line_of_the_square() -> None:
    # On [0, 1] the best line of t**2 is t - 1/8, with error 1/8.
    found = derive(Fit("p", "float64", lambda t: t**2, (0, 1), 1, lambda t: mpf(1)))
    assert found.coefficients == pytest.approx((1.0, -0.125), rel=1e-2)
    assert found.error == pytest.approx(-3, abs=0.01)


def test_fixed_coefficients_stay() -> None:
    found = derive(Fit("p", "float32", mp.exp, (-0.5, 0.5), 4, None, (1.0, 1.0)))
    assert found.coefficients[-2:] == (1.0, 1.0)
    assert found.error < -12


def test_parts_of_a_constant_add_up() -> None:
    parts = split(Split("pi", "float64", lambda: mp.pi, (30, 30, 53)))
    with mp.workprec(300):
        assert abs(sum(map(mpf, parts)) - mp.pi) < mpf(2) ** -110
    assert (parts[0] * 2**28).is_integer()


def test_tables_and_committed_constants_have_the_same_keys() -> None:
    assert sorted((f.name, f.dtype) for f in FITS) == sorted(POLYNOMIALS)
    assert sorted((s.name, s.dtype) for s in SPLITS) == sorted(CONSTANTS)


@pytest.mark.parametrize("fit", [f for f in FITS if f.degree <= 5], ids=lambda f: f"{f.name}-{f.dtype}")
def test_committed_polynomials(fit: Fit) -> None:
    # Committed as shortest literals, which round to the same float32.
    committed = POLYNOMIALS[fit.name, fit.dtype]
    found = derive(fit).coefficients
    with mp.workprec(24 if fit.dtype == "float32" else 53):
        assert [+mpf(c) for c in committed] == [mpf(c) for c in found]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["derive", "--check"]])
def test_all_committed_constants(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    assert module.main() == 0
