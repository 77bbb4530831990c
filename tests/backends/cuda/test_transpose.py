"""Transposed planes go through tiles; what is none of them goes word by word."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from tests.backends.cuda.host.runtime import HostRuntime


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float32", "complex128"])
def test_a_plane_is_turned_over_in_tiles(gpu: HostRuntime, dtype: str) -> None:
    host = np.arange(70 * 45, dtype=np.int64).reshape(70, 45) % 251
    x = ox.astype(ox.asarray(host, device="cuda:0"), ox.float32) if dtype == "bfloat16" else None
    given = ox.asarray(host.astype(dtype), device="cuda:0") if x is None else ox.cast(x, ox.bfloat16)
    gpu.launches.clear()
    found = ox.copy(ox.permute_dims(given, (1, 0)))
    assert gpu.launches[0].startswith("transpose_")
    assert (found.numpy().astype(np.complex128) == host.T).all()


@pytest.mark.parametrize("axes", [(0, 2, 1), (2, 0, 1), (1, 2, 0), (2, 1, 0)], ids=str)
def test_planes_come_in_batches(gpu: HostRuntime, axes: tuple[int, ...]) -> None:
    host = np.arange(9 * 33 * 34, dtype=np.float32).reshape(9, 33, 34)
    found = ox.copy(ox.permute_dims(ox.asarray(host, device="cuda:0"), axes))
    assert (found.numpy() == host.transpose(axes)).all()
    assert gpu.launches == ["transpose_u32"]


@pytest.mark.parametrize("index", [np.s_[:, :4], np.s_[:, ::2], np.s_[::-1, ::-1]], ids=["thin", "stepped", "reversed"])
def test_other_strides_go_word_by_word(gpu: HostRuntime, index: tuple[slice, ...]) -> None:
    host = np.arange(40 * 40, dtype=np.float32).reshape(40, 40)
    found = ox.copy(ox.permute_dims(ox.asarray(host, device="cuda:0")[index], (1, 0)))
    assert (found.numpy() == host[index].T).all()
    assert gpu.launches == ["move_u32"]


def test_explain_says_what_a_transposed_copy_costs(gpu: HostRuntime) -> None:
    x = ox.permute_dims(ox.asarray(np.zeros((64, 64), np.float32), device="cuda:0"), (1, 0))
    shown = str(ox.explain("copy", x))
    assert shown.index("copy.transposed") < shown.index("copy.strided") < shown.index("not contiguous")
