"""Values that break implementations: hard ones by table, every exponent, moderate ones; all from a seed."""

from __future__ import annotations

import functools
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...core.dtypes import COMPLEX, REAL, STORAGE, DType, float32, float64
from ..oracle.formats import FORMATS, Host

#: Lengths around the edges of vectors, unrolled loops and blocks.
EDGES: Final = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025)
#: Those of larger blocks.
FAR_EDGES: Final = (511, 512, 513, 2047, 2048, 2049, 4095, 4096, 4097)
QUICK_EDGES: Final = (1, 3, 16, 17, 65, 257)

#: Where elementary functions change their method or their result: uniform draws from each.
_INTERVALS: Final = (
    (-1.0, 1.0),
    (-10.0, 10.0),
    (0.9, 1.1),
    (0.0, 100.0),
    (-100.0, 100.0),
    (-750.0, 750.0),
    (-1e4, 1e4),
)


#: Hard values of which every triple is tried.
_FEW: Final = 10


def generator(*seed: object) -> np.random.Generator:
    """Return a random generator that depends on what is named alone."""
    return np.random.default_rng(zlib.crc32(repr(seed).encode()))


def rounded(values: NDArray[np.float64], t: DType) -> Host:
    """Return float64 values in a real dtype; through float32 for the narrow ones, which need not be the nearest."""
    with np.errstate(all="ignore"):
        wide = values.astype(np.float32) if t.name not in ("float32", "float64") else values
        return wide.astype(t.numpy)


@functools.cache
def hard(t: DType) -> Host:
    """Return hard values: zeros, subnormals, powers of two and their neighbours, the largest, infinities, NaN."""
    if t.kind == "bool":
        return np.array([False, True])
    if t.kind.endswith("integer"):
        return _hard_integers(t)
    if t.kind == COMPLEX:
        return _hard_complex(t)
    form = FORMATS[t.name]
    unit = form.epsilon
    tiny, least = form.smallest, float(np.ldexp(1.0, form.lowest))
    around = [p * f for p in (1.0, 2.0, 0.5, 4.0, 2.0**form.precision, 0.25) for f in (1, 1 + unit, 1 - unit / 2)]
    plain = [1.5, 2.5, 3.0, 0.75, 1 / 3, np.pi / 2, np.pi, 7.0, 10.0, 100.0, 2.0 ** (form.precision - 1) + 0.5]
    plain += [2.0**k + 0.5 for k in range(3, form.precision - 1, 2)]  # halves: ties of every rounding to integers
    edges = [
        tiny,
        3 * tiny,
        least - tiny,
        least,
        least + tiny,
        form.largest,
        form.largest / 2,
        np.ldexp(1.0, form.highest),
    ]
    positive = np.array([0.0, *around, *plain, *edges, np.inf])
    return np.append(rounded(np.concatenate([positive, -positive]), t), rounded(np.array([-np.nan, np.nan]), t))


@functools.cache
def hardest(t: DType) -> Host:
    """Return those of the hard values of which every pair is tried, however few points there are."""
    if t.kind.endswith("integer"):
        info = np.iinfo(t.numpy)
        ends = {info.min, info.min + 1, info.max // 2 + 1, info.max - 1, info.max, t.bits - 1, t.bits, t.bits + 1}
        chosen = sorted(v for v in ends | {-7, -2, -1, 0, 1, 2, 3, 7, 64} if info.min <= v <= info.max)
        return np.array(chosen, dtype=t.numpy)
    if t.kind != REAL:
        return hard(t)[:: 4 if t.kind == COMPLEX else 1]
    form = FORMATS[t.name]
    least, one = np.ldexp(1.0, form.lowest), 1 + form.epsilon
    positive = np.array([0.0, form.smallest, least, 0.5, 1.0, one, 1.5, 2.0, 3.0, form.largest, np.inf])
    return np.append(rounded(np.concatenate([positive, -positive]), t), rounded(np.array([np.nan]), t))


def _hard_integers(t: DType) -> Host:
    info = np.iinfo(t.numpy)
    powers = {s * (1 << k) + d for k in range(0, t.bits, 3) for d in (-1, 0, 1) for s in (1, -1)}
    near = {info.min, info.min + 1, info.max - 1, info.max, 0, 1, 2, 3, 5, 7, 10, 63, 64, 100, -1, -2, -3, -7}
    near |= {t.bits - 1, t.bits, t.bits + 1}
    return np.array(sorted(v for v in powers | near if info.min <= v <= info.max), dtype=t.numpy)


def _hard_complex(t: DType) -> Host:
    """Finite parts only: the opset leaves infinities in one part of a product or quotient open."""
    parts = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -3.25, 1e-3, 1e3, 1 / 3])
    real, imag = np.meshgrid(parts, parts)
    made = np.empty(real.size, t.numpy)
    made.real, made.imag = real.ravel(), imag.ravel()
    return made


def exhaustive(t: DType) -> Host:
    """Return every value of a dtype of 16 bits or fewer."""
    return np.arange(1 << t.bits, dtype=np.uint32).astype(f"u{t.itemsize}").view(t.numpy)


def stratified(t: DType, count: int, *seed: object) -> Host:
    """Return about so many values over every exponent and sign, half of them, and over intervals, the other half."""
    rng = generator("stratified", t.name, *seed)
    if t.kind == "bool":
        return rng.integers(0, 2, count).astype(bool)
    if t.kind.endswith("integer"):
        bits = rng.integers(0, 1 << 64, count, np.uint64, endpoint=False)
        small = rng.integers(0, t.bits, count).astype(np.uint64)  # every magnitude, not only the largest
        return np.asarray((bits >> (np.uint64(64 - t.bits) + small)).astype(f"u{t.itemsize}").view(t.numpy))
    if t.kind == COMPLEX:
        return moderate(t, (count,), *seed)
    form = FORMATS[t.name]
    exponents = np.arange(form.lowest - form.precision + 1, form.highest + 1)
    half = max(count // 2, 1)
    chosen = rng.permutation(np.resize(exponents, max(half, 1)))
    with np.errstate(all="ignore"):
        spread = np.ldexp(rng.uniform(1, 2, half), chosen) * rng.choice([-1.0, 1.0], half)
    each = max(half // len(_INTERVALS), 1)
    uniform = [rng.uniform(low, high, each) for low, high in _INTERVALS]
    return rounded(np.concatenate([spread, *uniform]), t)


def moderate(t: DType, shape: tuple[int, ...], *seed: object, low: float = -4.0, high: float = 4.0) -> Host:
    """Return values that no sum or product of a few overflows: uniform for floats, any bits for integers."""
    rng = generator("moderate", t.name, shape, *seed)
    if t.kind in (REAL, STORAGE):
        return rounded(rng.uniform(low, high, shape), t)
    if t.kind == COMPLEX:
        part = float32 if t.name == "complex64" else float64
        made = np.empty(shape, t.numpy)
        made.real, made.imag = moderate(part, shape, "real", *seed), moderate(part, shape, "imag", *seed)
        return made
    if t.kind == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    info = np.iinfo(t.numpy)
    return rng.integers(info.min, info.max, shape, t.numpy, endpoint=True)


def small(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    """Return values of which many are equal, zeros of both signs among them: for ties and for conditions."""
    rng = generator("small", t.name, shape, *seed)
    pool: NDArray[Any] = np.array([0, 1, 2, 3]) if t.kind != REAL else np.array([0.0, -0.0, 1.0, -1.0, 2.0])
    made = rng.choice(pool, shape).astype(np.float32 if t.kind == STORAGE else pool.dtype)
    return np.asarray(made.astype(t.numpy))


def tuples(t: DType, operands: int, count: int, *seed: object) -> tuple[Host, ...]:
    """Return operands of one length: pairs of hard values (a draw of triples), then stratified ones.

    The pairs are all of them where there is room, else all of the hardest and a draw of the others; of triples, all of
    a few.
    """
    table = hard(t)
    rng = generator("tuples", t.name, operands, count, *seed)
    if operands == 1:
        firsts: list[Host] = [table]
    elif operands == 2 and table.size**2 <= 2 * count:
        firsts = [g.ravel() for g in np.meshgrid(np.arange(table.size), np.arange(table.size))]
        firsts = [table[g] for g in firsts]
    else:
        firsts = [table[rng.integers(0, table.size, count)] for _ in range(operands)]
        few = hardest(t) if operands == 2 else hardest(t)[:: -(-hardest(t).size // _FEW)]
        every = [g.ravel() for g in np.meshgrid(*(np.arange(few.size),) * operands)]
        firsts = [np.concatenate([few[at], drawn]) for at, drawn in zip(every, firsts, strict=True)]
    made = []
    for i, first in enumerate(firsts):
        more = rng.permutation(stratified(t, count, i, *seed))
        made.append(np.concatenate([first, more[:count]]))
    length = min(x.size for x in made)
    return tuple(x[:length] for x in made)
