"""The harness by ziglang, as machines without g++ run it: one kernel or two of each kind of code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opmux as ox
from tests.backends.cuda.host import compiler
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.test_matmul import by_kernel


@pytest.fixture
def by_ziglang(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> HostRuntime:
    """A pretended GPU whose kernels ziglang compiles, wherever g++ is, and none of them before."""
    pytest.importorskip("ziglang", reason="it comes with the extra 'test'")
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiler, "_compiler", compiler._compiler.__wrapped__)
    monkeypatch.setattr(compiler, "_folder", lambda: tmp_path)
    assert "ziglang" in compiler._compiler()
    return HostRuntime()


def values(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Small integers: any order of terms has the same sum."""
    return np.random.default_rng(7).integers(-4, 5, shape).astype(dtype)


def found(x: ox.Array) -> list[Any]:
    return np.asarray(x.numpy()).tolist()


def test_elementwise_reductions_and_scans(by_ziglang: HostRuntime) -> None:
    x = values(3, 1031)
    with registered(OnHost(by_ziglang)):
        on_gpu = ox.asarray(x, device="cuda:0")
        assert found(ox.exp2(on_gpu)) == np.exp2(x).tolist()
        assert found(ox.sum(on_gpu, axis=1)) == x.sum(1).tolist()
        assert found(ox.cumulative_sum(on_gpu, axis=1)) == x.cumsum(1).tolist()


@pytest.mark.parametrize(("kernel", "shape"), [("matmul.mma", (33, 35, 37)), ("matmul.wgmma", (136, 64, 72))])
def test_products_by_instructions_of_tensor_cores(
    by_ziglang: HostRuntime, kernel: str, shape: tuple[int, int, int]
) -> None:
    m, k, n = shape
    a, b = values(m, k, dtype="float16"), values(k, n, dtype="float16")
    with registered(OnHost(by_ziglang)):
        x, y = ox.asarray(a, device="cuda:0"), ox.asarray(b, device="cuda:0")
        made = by_kernel(kernel, x, y, ox.float32)
    assert np.array_equal(made, a.astype(np.float32) @ b.astype(np.float32))
