"""The conformance suite's own cases on the kernels, carried out on the host."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from opmux.conformance.cases.enumerate import cases
from opmux.conformance.planted.judge import execute_all, of_pair
from opmux.conformance.results.outcome import Outcome
from opmux.conformance.target import Target
from opmux.opset.profiles import PROFILES

#: One or two of each family, whose quick cases run for every commit (tensor cores have test_matmul_tensor_cores.py).
QUICK = [
    ("exp", "float32"),
    ("add", "bfloat16"),
    ("cast", "float16"),
    ("where", "int8"),
    ("sum", "float32"),
    ("argmax", "float16"),
    ("cumulative_sum", "int32"),
    ("concat", "float32"),
    ("scatter", "float32"),
    ("sort", "float32"),
    ("random_bits", "uint32"),
    ("matmul", "float32"),
    ("matmul", "complex64"),
    ("cast", "float8_e4m3fn"),
]
#: What every core profile demands, each pair once; in parts, so that none compiles kernels for long.
CORE = sorted({pair for name, profile in PROFILES.items() if name.startswith("core-") for pair in profile.pairs})
PARTS = 3


def check(ids: Sequence[str]) -> None:
    found = list(execute_all("cuda", ids))
    assert [(r.id, r.message) for r in found if r.outcome not in (Outcome.PASS, Outcome.UNSUPPORTED)] == []
    assert sum(r.outcome is Outcome.PASS for r in found) > 0.7 * len(found) > 0


@pytest.mark.parametrize("pair", QUICK, ids="-".join)
def test_quick_cases_pass(target: Target, pair: tuple[str, str]) -> None:
    check([c.id for c in cases(*pair, quick=True)])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("pair", CORE, ids="-".join)
def test_every_case_of_the_core_profiles_passes(target: Target, pair: tuple[str, str], part: int) -> None:
    check([c.id for c in of_pair(pair)][part::PARTS])
