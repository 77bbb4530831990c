"""Constants of the recipes; written by ``python -m opmux.opset.recipes.derive --write``, not by hand."""

from typing import Final

#: Coefficients of each polynomial, highest power first.
POLYNOMIALS: Final[dict[tuple[str, str], tuple[float, ...]]] = {
    ("exp", "float32"): (  # weighted error 2**-28.2
        0.0013819156,
        0.008369077,
        0.041668244,
        0.16666517,
        0.49999994,
    ),
    ("exp", "float64"): (  # weighted error 2**-57.9
        2.5020795884747437e-08,
        2.7630770199751035e-07,
        2.75575290103919e-06,
        2.4801491713339803e-05,
        0.00019841269561468147,
        0.001388888894488383,
        0.008333333333473532,
        0.04166666666652575,
        0.16666666666666438,
        0.5000000000000011,
    ),
    ("exp2", "float32"): (  # weighted error 2**-26.3
        0.0001334074,
        0.0013387898,
        0.009625425,
        0.055503663,
        0.24022594,
        0.6931472,
    ),
    ("expm1", "float32"): (  # weighted error 2**-26.0
        0.0013882238,
        0.00836708,
        0.041667394,
        0.16666539,
        0.49999997,
    ),
    ("expm1", "float64"): (  # weighted error 2**-61.5
        2.090178935976135e-09,
        2.5108640726347727e-08,
        2.7557304304308984e-07,
        2.755724518714596e-06,
        2.4801587306475146e-05,
        0.0001984126988541485,
        0.0013888888888882866,
        0.008333333333321737,
        0.04166666666666669,
        0.16666666666666677,
        0.5,
    ),
}

#: Parts of each constant that one float cannot hold, largest first.
CONSTANTS: Final[dict[tuple[str, str], tuple[float, ...]]] = {
    ("ln2", "float32"): (
        0.69314575,
        1.4286068e-06,
    ),
    ("ln2", "float64"): (
        0.6931471805598903,
        5.497923018708371e-14,
    ),
    ("log2e", "float32"): (
        1.442695,
        1.925963e-08,
    ),
    ("log2e", "float64"): (
        1.4426950408889634,
        2.0355273740931033e-17,
    ),
}


def polynomial(name: str, dtype: str) -> tuple[float, ...]:
    """Return a polynomial's coefficients, highest power first."""
    return POLYNOMIALS[name, dtype]


def constant(name: str, dtype: str) -> tuple[float, ...]:
    """Return a constant's parts, largest first."""
    return CONSTANTS[name, dtype]
