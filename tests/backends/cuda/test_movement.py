"""Movement on the pretended GPU: pieces, their words and their launches."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda.movement import in_words, widest
from opmux.core.nests import Nest
from tests.backends.cuda.host.runtime import HostRuntime


def counted(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    return (np.arange(np.prod(shape)) % 251).astype(dtype).reshape(shape)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_hundreds_of_parts_take_few_launches(gpu: HostRuntime, axis: int) -> None:
    parts = [counted(tuple(1 + i % 3 if d == axis else 4 for d in range(3))) for i in range(100)]
    found = ox.concat([ox.asarray(p, device="cuda:0") for p in parts], axis=axis)
    assert (found.numpy() == np.concatenate(parts, axis)).all()
    assert len(gpu.launches) == 4


def test_parts_may_lie_in_any_way(gpu: HostRuntime) -> None:
    host = counted((6, 8), "int16")
    x = ox.asarray(host, device="cuda:0")
    found = ox.concat([x[::-2], ox.permute_dims(ox.permute_dims(x, (1, 0))[:, ::-1], (1, 0)), x[1:2]], axis=0)
    assert (found.numpy() == np.concatenate([host[::-2], host[::-1], host[1:2]])).all()


def test_large_pieces_that_allow_wider_words_get_a_launch_of_their_own(gpu: HostRuntime) -> None:
    even, odd = counted((1 << 16,)), counted((5,))
    found = ox.concat([ox.asarray(x, device="cuda:0") for x in (even, odd)])
    assert (found.numpy() == np.concatenate([even, odd])).all()
    assert gpu.launches == ["move_u32", "move_u128"]


@pytest.mark.parametrize("dtype", ["uint8", "float64", "complex128"])
def test_no_element_of_a_pad_is_left_out(gpu: HostRuntime, dtype: str) -> None:
    host, widths = counted((3, 5, 4), dtype), ((1, 2), (0, 3), (2, 0))
    found = ox.pad(ox.asarray(host, device="cuda:0"), widths, value=7)
    assert (found.numpy() == np.pad(host, widths, constant_values=7)).all()
    assert len(gpu.launches) == 1


@pytest.mark.parametrize("start", [0, 1], ids=["aligned", "unaligned"])
def test_complex_numbers_come_apart_and_together(gpu: HostRuntime, start: int) -> None:
    host = (counted((70,)) + 1j * counted((70,))[::-1]).astype(np.complex128)
    x = ox.asarray(host, device="cuda:0")[start:]
    assert (ox.imag(x).numpy() == host.imag[start:]).all()
    assert (ox.complex(ox.real(x), ox.imag(x)).numpy() == host[start:]).all()
    assert (ox.copy(x[::-3]).numpy() == host[start:][::-3]).all()


def test_words_are_as_wide_as_every_distance_allows() -> None:
    nest = Nest((3, 8), ((16, 1), (8, 1)))
    assert widest(nest, 2) == 16
    assert widest(nest, 2, others=(4,)) == 8
    assert widest(Nest((3, 8), ((15, 1), (8, 1))), 2) == 2
    assert in_words(nest, 4) == Nest((3, 2), ((4, 1), (2, 1)))
    assert in_words(nest, 8) == Nest((3,), ((2,), (1,)))
