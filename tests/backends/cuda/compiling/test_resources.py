"""What kernels need of a multiprocessor is no more than the table says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opmux.backends.cuda.compiling.cubin import Resources
from opmux.backends.cuda.compiling.targets import TARGETS
from tests.backends.cuda.resources import Variant, families, kept, measured, needed, variants, worse


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", families())
def test_kernels_need_no_more_than_the_table_says(family: str, target: str) -> None:
    by, before = kept()
    now = measured(family, [target])
    assert "\n".join(worse(before, now, by)) == ""
    rows = {name for name, row in before.items() if name.startswith(f"{family}: ") and target in row}
    assert rows == now.keys(), "rows of kernels that are gone"


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (Resources(46, 0, 100), ""),
        (Resources(47, 0, 100), "registers 40 -> 47"),
        (Resources(40, 4, 100), "local 0 -> 4"),
        (Resources(40, 0, 200), "shared 100 -> 200"),
    ],
)
def test_growth_is_told_with_kernel_target_figures_and_how_to_accept(needs: Resources, said: str) -> None:
    told = "".join(worse({"f: k": {"sm_80": Resources(40, 0, 100)}}, {"f: k": {"sm_80": needs}}, "13.0"))
    assert said in told
    assert bool(told) is bool(said)
    if said:
        assert "f: k on sm_80" in told
        assert "13.0" in told
        assert "--write" in told


def test_a_kernel_that_the_table_has_not_is_told() -> None:
    assert "not in table.json" in worse({}, {"f: k": {"sm_80": Resources(1, 0, 0)}}, "13.0")[0]


def a_kernel() -> tuple[str, Variant]:
    """The kernel of the table that fills most of its registers by loads alone."""
    return next((f"elementwise: {v.name}", v) for v in variants("elementwise") if v.name == "dense sin float64")


#: What is put in place of what, and what is to be told of it.
MORE = ("TURNS = 4", "TURNS = 16")
FEWER = ("__launch_bounds__(THREADS)", "__launch_bounds__(1024)")
ARRAY = ("constexpr u64 BLOCK", "__shared__ volatile u64 kept[64]; kept[threadIdx.x & 63] = n; constexpr u64 BLOCK")


@pytest.mark.parametrize(
    ("edits", "said"), [([MORE], "registers "), ([MORE, FEWER], "local 0 -> "), ([ARRAY], "shared 0 -> 512")]
)
def test_a_kernel_that_grows_is_told_for_every_target(edits: list[tuple[str, str]], said: str) -> None:
    name, variant = a_kernel()
    by, table = kept()
    assert worse(table, needed({name: variant}), by) == []
    body = variant.body
    for before, after in edits:
        assert before in body
        body = body.replace(before, after)
    told = worse(table, needed({name: replace(variant, body=body)}), by)
    assert [said in line for line in told] == [True] * len(TARGETS)
