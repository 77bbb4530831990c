"""Canonical results through the public API: those of the kernels, carried out on the host, are the CPU's bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import pytest

import opmux as ox
from opmux.core.dispatch.claims import ClaimKey, Verdict
from opmux.core.dispatch.decision import Claim
from opmux.core.dispatch.registry import REGISTRY
from opmux.core.dtypes import BY_NAME
from opmux.core.op import OPS
from opmux.opset.orders import BLOCK
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.test_elementwise import same_bits
from tests.core.claimed import claimed

Array = np.ndarray[Any, Any]

DTYPES: Final = ("float32", "float64", "float16", "bfloat16")
#: The rows are longer than a block of the canonical order, and no power of two divides them.
ROWS: Final = (4, 3, BLOCK + 67)
CALLS: Final[dict[str, Callable[[ox.Array], ox.Array]]] = {
    "exp": ox.exp,
    "log": ox.log,
    "tanh": ox.tanh,
    "gelu": ox.gelu,
    "sum": lambda x: ox.sum(x, axis=(1, 2)),
    "mean": lambda x: ox.mean(x, axis=-1),
    "var": lambda x: ox.var(x, axis=(0, 1)),
    "max": lambda x: ox.max(x, axis=(0, 2)),
    "softmax": ox.softmax,
    "layer_norm": ox.layer_norm,
    "cumulative_sum": lambda x: ox.cumulative_sum(x, axis=2),
    "matmul": lambda x: ox.matmul(x, ox.permute_dims(x[0, :, ::-1], (1, 0))),
}
#: What regions of canonical bits are judged as.
FAMILIES: Final = ("region:chain:canonical", "region:rows:canonical", "region:columns:canonical")
#: Products of narrow floats have no canonical kernel on a CPU.
PAIRS: Final = [
    (name, t) for name in CALLS for t in DTYPES if name != "matmul" or np.dtype(BY_NAME[t].numpy).itemsize >= 4
]


@pytest.fixture(scope="module")
def shown() -> Iterator[None]:
    """Have a pretended GPU, and take every claim of it and of the CPU for shown, which no other test shall."""
    with registered(OnHost()):
        devices = [ox.device(name) for name in ("cuda:0", "cpu:0")]
        judged = {
            ClaimKey(backend, REGISTRY.version(backend), k, t, device.info.name)
            for device in devices
            for op in OPS
            for backend, kernel in REGISTRY.kernels(op.name, device.kind)
            for k in (kernel.judged_as, *FAMILIES)
            for t in BY_NAME
        }
        with claimed({key: Verdict(Claim.SHOWN) for key in judged}):
            yield


def values(dtype: str) -> Array:
    """Return ordinary values, then zeros of either sign and tiny ones, then infinities, then a NaN."""
    x = np.random.default_rng(5).standard_normal(ROWS).astype(BY_NAME[dtype].numpy)
    x[1] *= x.dtype.type(0)
    x[1, 1, ::9] = np.ldexp(1.0, -24 if dtype == "float16" else -130)
    x[2, 0, 5], x[2, 1, -1] = np.inf, -np.inf
    x[3, 1, BLOCK] = np.nan
    return x


def made(run: Callable[[ox.Array], ox.Array], x: Array, device: str, backends: set[str]) -> Array:
    with ox.policy(determinism="canonical", claims="shown", backends=backends, fallback="forbid"):
        return np.asarray(run(ox.asarray(x, device=device)).numpy())


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_canonical_bits_are_those_of_the_cpu(shown: None, pair: tuple[str, str]) -> None:
    x, run = values(pair[1]), CALLS[pair[0]]
    expected = made(run, x, "cpu:0", {"llvm", "numpy"})
    assert same_bits(made(run, x, "cuda:0", {"cuda"}), expected)
    assert same_bits(made(ox.compile(run), x, "cuda:0", {"cuda"}), expected)
