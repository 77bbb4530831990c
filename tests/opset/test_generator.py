from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.opset.philox import block


def words(seed: int, count: int) -> list[int]:
    key = (seed & 0xFFFFFFFF, seed >> 32)
    return [w for i in range(-(-count // 4)) for w in block((i, 0, 0, 0), key)][:count]


# Frozen: what programs written against this version rely on.
def test_frozen_bits() -> None:
    assert ox.Generator(0).bits(4).tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert ox.Generator(1234567890123456789).bits(2).tolist() == words(1234567890123456789, 2)


def test_frozen_uniform_numbers() -> None:
    assert ox.Generator(0).uniform(2).tolist() == [(w >> 8) / 2**24 for w in words(0, 2)]
    a, b, c, d = words(0, 4)
    wanted = [((x >> 5) * 2**26 + (y >> 6)) / 2**53 for x, y in ((a, b), (c, d))]
    assert ox.Generator(0).uniform(2, dtype="float64").tolist() == wanted
    assert ox.Generator(0).uniform(2, dtype="float16").tolist() == [(w >> 21) / 2**11 for w in words(0, 2)]
    assert ox.Generator(0).uniform((), 2.0, 4.0).item() == 2 + 2 * (words(0, 1)[0] >> 8) / 2**24


def test_frozen_integers() -> None:
    assert ox.Generator(0).integers(1, 7, 5).tolist() == [3, 5, 6, 5, 1]
    assert ox.Generator(3).permutation(6).tolist() == [3, 2, 1, 4, 0, 5]


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 10, "int64"), (-5, 5, "int8"), (0, 256, "uint8"), (0, 2**32, "uint64"), (-(2**63), 2**63, "int64"),
     (0, 2**64, "uint64"), (3, 2**40 + 7, "int64"), (2**63, 2**64, "uint64")],
)  # fmt: skip
def test_integers_are_the_high_word_of_a_product(low: int, high: int, dtype: str) -> None:
    w = words(9, 40)
    wanted = [low + ((a << 32 | b) * (high - low) >> 64) for a, b in zip(w[::2], w[1::2], strict=True)]
    found = ox.Generator(9).integers(low, high, (4, 5), dtype=dtype)
    assert found.dtype.name == dtype
    assert found.numpy().ravel().tolist() == wanted


def test_normal_numbers_are_box_and_mullers() -> None:
    u = [(w >> 8) / 2**24 for w in words(5, 8)]
    radius = [math.sqrt(-2 * math.log(1 - a)) for a in u[:2]]
    angle = [2 * math.pi * b for b in u[4:6]]
    wanted = [r * math.cos(t) for r, t in zip(radius, angle, strict=True)] + [radius[0] * math.sin(angle[0])]
    np.testing.assert_allclose(ox.Generator(5).normal(3).numpy(), wanted, rtol=1e-5)
    shifted = ox.Generator(5).normal(3, 10.0, 2.0, dtype="float64")
    assert shifted.dtype is ox.float64


def test_moments_of_many_numbers() -> None:
    n = 100_000
    for dtype in ("float32", "float64"):
        u, z = ox.Generator(1).uniform(n, dtype=dtype).numpy(), ox.Generator(2).normal(n, dtype=dtype).numpy()
        assert u.min() >= 0.0
        assert u.max() < 1.0
        # Five standard errors.
        assert abs(u.mean() - 0.5) < 5 * math.sqrt(1 / 12 / n)
        assert abs(z.mean()) < 5 / math.sqrt(n)
        assert abs(z.var() - 1) < 5 * math.sqrt(2 / n)


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_permutation_holds_every_number_once(n: int) -> None:
    assert sorted(ox.Generator(0).permutation(n).tolist()) == list(range(n))


def test_the_same_numbers_whatever_the_pieces() -> None:
    g = ox.Generator(11)
    pieces = g.bits(8).tolist() + g.bits((2, 2)).tolist()[0]
    assert pieces == words(11, 12)[:10]
    assert g.position == 3


def test_pickling_and_positions_go_on_where_they_were() -> None:
    g = ox.Generator(42)
    g.normal(5)
    twin, other = pickle.loads(pickle.dumps(g)), copy.deepcopy(g)
    again = ox.Generator(42, position=g.position)
    wanted = g.uniform(3).tolist()
    assert [x.uniform(3).tolist() for x in (twin, other, again)] == [wanted] * 3


def test_split_generators_differ_and_are_reproducible() -> None:
    seeds = [g.seed for g in (ox.Generator(0).split(), ox.Generator(1).split())]
    g = ox.Generator(0)
    first, second = g.split(), g.split()
    assert first.seed == seeds[0]
    assert len({first.seed, second.seed, *seeds, 0}) == 4
    assert g.bits(4).tolist() == words(0, 12)[8:]


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: ox.Generator(-1), ox.ArgumentError, "seed=-1"),
        (lambda: ox.Generator(2**64), ox.ArgumentError, "seed"),
        (lambda: ox.Generator(1.5), ox.ArgumentTypeError, "integer"),
        (lambda: ox.Generator(0).uniform(2, dtype="int8"), ox.DTypeError, "int8"),
        (lambda: ox.Generator(0).integers(5, 5), ox.ArgumentError, "empty"),
        (lambda: ox.Generator(0).integers(0, 300, dtype="uint8"), ox.ArgumentError, "uint8"),
        (lambda: ox.Generator(0).integers(0, 3, dtype="float32"), ox.DTypeError, "float32"),
        (lambda: ox.Generator(0).bits(-1), ox.ShapeError, "negative"),
    ],
)
def test_generator_refuses(call: Any, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        call()
