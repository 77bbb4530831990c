"""The elementwise ops one by one on NumPy arrays, each by its recipe: what fused ops are held to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opmux.core.dtypes import BY_NAME, DType
from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.registry import program


class OneByOne:
    """A namespace of ops; Python scalars take the dtype of the first array, metadata functions are NumPy's."""

    broadcast_to = staticmethod(np.broadcast_to)
    permute_dims = staticmethod(np.transpose)
    expand_dims = staticmethod(np.expand_dims)
    squeeze = staticmethod(np.squeeze)
    reshape = staticmethod(np.reshape)

    def __getattr__(self, op: str) -> Callable[..., NDArray[Any]]:
        def call(*operands: Any, dtype: DType | None = None) -> NDArray[Any]:
            (like, *_) = [x.dtype for x in operands if isinstance(x, np.ndarray | np.generic) and x.dtype != bool]
            arrays = [np.asarray(x, getattr(x, "dtype", like)) for x in operands]
            names = tuple(name_of(x.dtype) for x in arrays)
            recipe = program(op, names, None if dtype is None else dtype.name)
            assert recipe is not None
            return evaluate(recipe, *arrays)

        return call


def name_of(dtype: np.dtype[Any]) -> str:
    return next(t.name for t in BY_NAME.values() if t.numpy == dtype)


def random_bits(dtype: str, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    """Return every pattern with equal probability: NaN, infinities and subnormals among them."""
    rng, kind = np.random.default_rng(seed), BY_NAME[dtype].numpy
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(0, 256, (*shape, kind.itemsize), np.uint8).view(kind)[..., 0]


def assert_same_bits(found: NDArray[Any], expected: NDArray[Any]) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    words = f"u{found.dtype.itemsize}"
    nan = (found != found) & (expected != expected)
    same = np.ascontiguousarray(found).view(words) == np.ascontiguousarray(expected).view(words)
    wrong = np.argwhere(~(same | nan))
    assert not wrong.size, f"{len(wrong)} differ, first at {wrong[0]}"
