"""Cycles of a matrix product on a systolic array, to the cycle as SCALE-Sim counts them.

A product (m, k) @ (k, n) is cut into *folds*, each as large as the array. Two dimensions are spread over rows and
columns, the third runs in time:

==================  =====  =======  ====  ===================================
dataflow            rows   columns  time  cycles per fold
==================  =====  =======  ====  ===================================
output stationary   m      n        k     time + rows + columns - 2
weight stationary   k      n        m     time + 2 rows + columns - 2
input stationary    k      m        n     time + 2 rows + columns - 2
==================  =====  =======  ====  ===================================

The whole takes folds x cycles per fold - 1: the count of the last cycle, from 0. Source: A. Samajdar et al., "A
Systematic Methodology for Characterizing Scalability of DNN Accelerators using SCALE-Sim", ISPASS 2020, and the counts
of the package ``scalesim`` itself (``tests/backends/sim/scalesim.json``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ..fields import Dataflow

#: For each dataflow, which of (m, n, k) lies along the rows, along the columns, and runs in time.
_MAPPING: Final[dict[Dataflow, tuple[int, int, int]]] = {"os": (0, 1, 2), "ws": (2, 1, 0), "is": (2, 0, 1)}


@dataclass(frozen=True, slots=True)
class Array:
    """A systolic array.

    Attributes:
        rows: of cells.
        columns: of cells.
        dataflow: what stays in the cells.
    """

    rows: int
    columns: int
    dataflow: Dataflow


@dataclass(frozen=True, slots=True)
class Run:
    """What a matrix product does on an array.

    Attributes:
        cycles: all of it.
        folds: passes over the array.
        mapping: mean share of the cells that hold something over all folds.
        utilisation: multiply-accumulates over cells and cycles.
        input_reads: elements of the (m, k) operand that enter the array.
        weight_reads: elements of the (k, n) operand that enter the array.
        output_writes: partial or final results that leave it.
    """

    cycles: int
    folds: int
    mapping: float
    utilisation: float
    input_reads: int
    weight_reads: int
    output_writes: int


_NOTHING: Final = Run(0, 0, 0.0, 0.0, 0, 0, 0)


def spread(m: int, n: int, k: int, dataflow: Dataflow) -> tuple[int, int, int]:
    """Return the sizes along the rows, along the columns, and in time.

    >>> spread(256, 128, 64, "ws")
    (64, 128, 256)
    """
    sizes = (m, n, k)
    rows, columns, time = _MAPPING[dataflow]
    return sizes[rows], sizes[columns], sizes[time]


def gemm(m: int, n: int, k: int, array: Array) -> Run:
    """Return what a product (m, k) @ (k, n) does; nothing where a size is 0.

    >>> gemm(256, 128, 256, Array(32, 32, "os")).cycles
    10175
    """
    if not m or not n or not k:
        return _NOTHING
    along_rows, along_columns, time = spread(m, n, k, array.dataflow)
    row_folds, column_folds = -(-along_rows // array.rows), -(-along_columns // array.columns)
    folds = row_folds * column_folds
    cycles = folds * _per_fold(time, array) - 1
    cells = array.rows * array.columns
    reads = {"os": (column_folds, row_folds, 1), "ws": (column_folds, 1, row_folds), "is": (1, column_folds, row_folds)}
    again = reads[array.dataflow]
    return Run(
        cycles=cycles,
        folds=folds,
        mapping=along_rows * along_columns / (folds * cells),
        utilisation=m * n * k / (cycles * cells) if cycles else 1.0,
        input_reads=m * k * again[0],
        weight_reads=k * n * again[1],
        output_writes=m * n * again[2],
    )


def cycles(
    m: int,
    n: int,
    k: int,
    array: Array,
    *,
    count: int = 1,
    rate: float = 1.0,
    double_buffered: bool = False,
    batch: int = 1,
) -> int:
    """Return the cycles of *batch* products on *count* arrays whose cells do *rate* multiply-accumulates per cycle.

    Folds are dealt out evenly; the array with the most decides. The rate shortens the dimension that runs in time.
    With *double_buffered*, the stationary values of a fold (or the results of the last one) move through shadow
    registers while another fold computes, one row per cycle, so folds follow each other every max(time, rows) cycles.
    With one array, a rate of 1 and without shadow registers it is :func:`gemm`'s count.

    >>> cycles(200, 2048, 2048, Array(256, 256, "ws"), double_buffered=True)
    17093
    """
    if not m or not n or not k or not batch:
        return 0
    along_rows, along_columns, time = spread(m, n, k, array.dataflow)
    folds = -(-along_rows // array.rows) * -(-along_columns // array.columns)
    most = -(-folds * batch // count)
    time = math.ceil(time / rate)
    single = _per_fold(time, array)
    if double_buffered:
        return (most - 1) * max(time, array.rows) + single - 1
    return most * single - 1


def _per_fold(time: int, array: Array) -> int:
    skew = array.rows + array.columns - 2
    return time + skew if array.dataflow == "os" else time + array.rows + skew
