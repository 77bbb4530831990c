"""What collectives mean: functions of the values of all ranks, over a NumPy-like namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.collectives.layout import cut


def _stacked(np: Any, arrays: Sequence[Any], axis: int | None) -> Any:
    return np.stack(arrays) if axis is None else np.moveaxis(np.concatenate(arrays, axis=axis), axis, 0)


def _reduced(np: Any, terms: Any, reduction: str) -> Any:
    if terms.dtype == bool:
        return np.any(terms, axis=0) if reduction in ("sum", "max", "or") else np.all(terms, axis=0)
    if reduction in ("and", "or"):
        combine = np.bitwise_and if reduction == "and" else np.bitwise_or
        return combine.reduce(terms, axis=0)
    if reduction in ("sum", "prod"):
        return getattr(np, reduction)(terms, axis=0, dtype=terms.dtype)
    return getattr(np, reduction)(terms, axis=0)


def all_reduce(np: Any, arrays: Sequence[Any], reduction: str, axis: int | None) -> list[Any]:
    """Reduce the contributions of all ranks."""
    return [_reduced(np, _stacked(np, arrays, axis), reduction)] * len(arrays)


def reduce_scatter(np: Any, arrays: Sequence[Any], reduction: str, axis: int, sizes: Sequence[int] | None) -> list[Any]:
    """Reduce, and give each rank its part."""
    whole = _reduced(np, np.stack(arrays), reduction)
    return _parts(np, whole, axis, cut(whole.shape[axis], len(arrays)) if sizes is None else sizes)


def all_gather(np: Any, arrays: Sequence[Any], axis: int) -> list[Any]:
    """Join."""
    return [np.concatenate(arrays, axis=axis)] * len(arrays)


def all_to_all(np: Any, arrays: Sequence[Any], axis: int, sizes: Sequence[Sequence[int]] | None) -> list[Any]:
    """Cut each rank's array, and join what goes to the same rank."""
    n = len(arrays)
    rows = [
        _parts(np, x, axis, cut(x.shape[axis], n) if sizes is None else sizes[i]) for i, x in enumerate(arrays)
    ]  # fmt: skip
    return [np.concatenate([row[j] for row in rows], axis=axis) for j in range(n)]


def permute(np: Any, arrays: Sequence[Any], pairs: Sequence[tuple[int, int]]) -> list[Any]:
    """Hand over."""
    source = {b: a for a, b in pairs}
    return [arrays[source[r]] if r in source else np.zeros_like(x) for r, x in enumerate(arrays)]


def _parts(np: Any, x: Any, axis: int, lengths: Sequence[int]) -> list[Any]:
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    return list(np.split(x, ends[:-1], axis=axis))
