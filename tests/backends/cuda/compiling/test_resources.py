"""What kernels need of a multiprocessor is no more than the table says."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import opmux.backends.cuda
from opmux.backends.cuda.compiling.targets import TARGETS
from opmux.backends.cuda.folds import Fold
from opmux.backends.cuda.products import matmul, tensor_cores, wgmma
from opmux.backends.cuda.scans import Variant as Scan
from tests.backends.cuda.compiling.collected import collected
from tests.backends.cuda.resources import Needs, Variant, families, kept, measured, needed, variants, worse

#: How a text names an entry.
ENTRY = re.compile(r"OPMUX_(?:CLUSTER_)?ENTRY\((\w+)")


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
        (Needs(46, 0, 100), ""),
        (Needs(47, 0, 100), "registers 40 -> 47"),
        (Needs(40, 4, 100), "local 0 -> 4"),
        (Needs(40, 0, 200), "shared 100 -> 200"),
        (Needs(40, 0, 100, 8), "dynamic 0 -> 8"),
    ],
)
def test_growth_is_told_with_kernel_target_figures_and_how_to_accept(needs: Needs, said: str) -> None:
    told = "".join(worse({"f: k": {"sm_80": Needs(40, 0, 100)}}, {"f: k": {"sm_80": needs}}, "13.0"))
    assert said in told
    assert bool(told) is bool(said)
    if said:
        assert "f: k on sm_80" in told
        assert "13.0" in told
        assert "--write" in told


def test_a_kernel_that_the_table_has_not_is_told() -> None:
    assert "not in table.json" in worse({}, {"f: k": {"sm_80": Needs(1, 0, 0)}}, "13.0")[0]


def entries_of_the_table() -> set[str]:
    return {variant.entry for family in families() for variant in variants(family)}


def test_every_entry_that_calls_of_opmux_ask_for_has_a_row() -> None:
    asked = {name for body, _ in collected().texts for name in ENTRY.findall(body)}
    assert len(asked) > 50
    assert asked - entries_of_the_table() == set()


def test_every_tile_and_form_has_a_row() -> None:
    tiles = [tile for tile in vars(matmul).values() if isinstance(tile, matmul.Tile)]
    assert len(tiles) == 7
    names = {f"matmul_{tile.rows}x{tile.columns}" for tile in tiles}
    names |= {f"matmul_mma_{tile.rows}x{tile.columns}" for tile in tensor_cores.TILES}
    names |= {wgmma.Variant("int8", "int32", tile, False, False, 3, True, False).name for tile in wgmma.TILES}
    names |= {f"matmul_skinny_{lie}_{n}" for lie in ("along", "across") for n in (1, 2, 4, 8)}
    names |= {Scan(Fold("sum", "float32", "float32"), 1, along).name for along in (True, False)}
    assert names - entries_of_the_table() == set()


def writers() -> set[tuple[str, str]]:
    """Return the file and the name of every function of the backend that writes an entry."""
    found = set()
    for path in Path(opmux.backends.cuda.__file__).resolve().parent.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and "_ENTRY(" in ast.unparse(function):
                found.add((str(path), function.name))
    return found


def test_every_function_that_writes_an_entry_is_called_for_the_table() -> None:
    """A kernel of a new kind has a row, also where no sample of an op asks for it."""
    for module in [m for name, m in sys.modules.items() if name.startswith("opmux.backends.cuda")]:
        for value in vars(module).values():
            if hasattr(value, "cache_clear") and value.__module__ == module.__name__:
                value.cache_clear()
    called = set()
    sys.setprofile(lambda frame, *_: called.add(frame.f_code))
    try:
        entries_of_the_table()
    finally:
        sys.setprofile(None)
    expected = writers()
    assert len(expected) > 15
    assert expected - {(str(Path(code.co_filename).resolve()), code.co_name) for code in called} == set()


def a_kernel() -> tuple[str, Variant]:
    """The kernel of the table that fills most of its registers by loads alone."""
    return next((f"elementwise: {v.name}", v) for v in variants("elementwise") if v.name == "dense sin float64")


#: What is put in place of what, and what is to be told of it.
MORE = ("TURNS = 2", "TURNS = 16")
FEWER = ("__launch_bounds__(THREADS)", "__launch_bounds__(1024)")
ARRAY = ("constexpr u64 STEP", "__shared__ volatile u64 kept[64]; kept[threadIdx.x & 63] = n; constexpr u64 STEP")


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
