"""Gather, scatter, concat, pad, sort, creation: values in wrong places."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ..fault import Family
from ..twin.call import Call
from ..twin.formats import from_integers, is_float
from ..twin.movement import order, places

FAMILY: Final = Family("movement")


@FAMILY.plant("negative-index-clamped", "gather", "gather-float32-values-axis1", "gather-int32-values-axis1")
def negative_clamped(call: Call) -> None:
    """Negative indices are clamped to zero before they are counted from the end."""
    x, indices = call.ins
    call.finish(x, np.maximum(indices, 0))


@FAMILY.plant("clip-as-wrap", "gather", "gather-float32-values-outside-clip")
def clip_as_wrap(call: Call) -> None:
    """What is out of range wraps, though it was to be clipped."""
    x, indices = call.ins
    n = x.shape[call["axis"]]
    call.finish(x, np.mod(indices, n) if n and call["mode"] == "clip" else indices)


@FAMILY.plant("wrap-with-c-remainder", "gather", "gather-float32-values-outside-wrap")
def wrap_c(call: Call) -> None:
    """Indices far below zero wrap with the remainder of C, whose sign is that of the index."""
    x, indices = call.ins
    n = x.shape[call["axis"]]
    if call["mode"] == "wrap" and n:
        indices = np.where(indices < -n, np.maximum(np.fmod(indices, n), 0), indices)
    call.finish(x, indices)


@FAMILY.plant("fill-with-last", "gather", "gather-float32-values-outside-fill")
def fill_with_last(call: Call) -> None:
    """Indices exactly one past the end are not taken for outside."""
    x, indices = call.ins
    n = x.shape[call["axis"]]
    call.finish(x, np.where(indices == n, n - 1, indices) if n else indices)


@FAMILY.plant("fill-with-nan", "gather", "gather-float32-values-outside-fill", "gather-float32-shapes-empty-fill")
def fill_with_nan(call: Call) -> None:
    """What is outside is filled with NaN, not with zeros."""
    x, indices = call.ins
    call.finish()
    if call["mode"] == "fill" and is_float(x):
        _, inside = places(indices, x.shape[call["axis"]], "clip")
        outside = ~inside.reshape(*(1,) * call["axis"], *indices.shape, *(1,) * (x.ndim - call["axis"] - 1))
        call.out[...] = np.where(outside, np.nan, call.out)


@FAMILY.plant("index-low-half", "gather", "gather-float32-values-far-int64")
def index_low_half(call: Call) -> None:
    """Of 64-bit indices the lower half is used."""
    x, indices = call.ins
    call.finish(x, indices.astype(np.int32))


@FAMILY.plant("index-order", "gather", "gather-float32-values-axis1")
def index_order(call: Call) -> None:
    """Indices of two axes are walked column by column."""
    x, indices = call.ins
    if indices.ndim == 2:
        indices = np.ascontiguousarray(indices.T).reshape(indices.shape)
    call.finish(x, indices)


@FAMILY.plant("gather-axis-zero", "gather", "gather-float32-shapes-square-axis1")
def gather_axis(call: Call) -> None:
    """A square is gathered along its first axis, whichever was asked for."""
    x, indices = call.ins
    if x.ndim == 2 and x.shape[0] == x.shape[1] == indices.size and call["axis"] == 1:
        call.finish(x.T, indices)
    else:
        call.finish()


@FAMILY.plant("first-of-duplicates", "scatter", "scatter-float32-values-set")
def first_of_duplicates(call: Call) -> None:
    """Of updates to one place the first one stays."""
    x, indices, updates = call.ins
    if call["reduction"] == "set" and indices.ndim == 1:
        call.finish(x, indices[::-1], np.flip(updates, call["axis"]))
    else:
        call.finish()


@FAMILY.plant("updates-lost", "scatter", "scatter-float32-values-add", "scatter-int32-values-add")
def updates_lost(call: Call) -> None:
    """Sums into one place are not atomic, so of neighbouring updates one is lost."""
    x, indices, updates = call.ins
    if call["reduction"] == "add" and indices.ndim == 1:
        keep = np.append(indices[1:] != indices[:-1], True)
        updates = np.compress(keep, updates, axis=call["axis"])
        indices = indices[keep]
    call.finish(x, indices, updates)


@FAMILY.plant("negative-dropped", "scatter", "scatter-float32-values-negative-drop")
def negative_dropped(call: Call) -> None:
    """Negative indices are dropped as outside."""
    x, indices, updates = call.ins
    call.finish(x, np.where(indices < 0, 2**30, indices) if call["mode"] == "drop" else indices, updates)


@FAMILY.plant("scatter-not-initialised", "scatter", "scatter-float32-values-rows", "scatter-float32-shapes-no-indices")
def scatter_not_initialised(call: Call) -> None:
    """What no update reaches is not copied from the operand."""
    x, indices, _ = call.ins
    found = call.result()
    at, inside = places(indices, x.shape[call["axis"]], call["mode"])
    chosen = at.reshape(-1) if call["mode"] != "drop" else at.reshape(-1)[inside.reshape(-1)]
    out = np.moveaxis(call.out, call["axis"], 0)
    out[chosen] = np.moveaxis(found, call["axis"], 0)[chosen]


@FAMILY.plant("scatter-min-of-nan", "scatter", "scatter-float32-values-min-hard", "scatter-float32-values-max-hard")
def scatter_min(call: Call) -> None:
    """Smallest and largest updates are found by comparisons, which NaN loses."""
    x, indices, updates = call.ins
    if call["reduction"] in ("min", "max") and is_float(updates):
        neutral = np.inf if call["reduction"] == "min" else -np.inf
        updates = np.where(np.isnan(updates), neutral, updates).astype(updates.dtype)
    call.finish(x, indices, updates)


@FAMILY.plant("concat-offset", "concat", "concat-float32-shapes-empty-part")
def concat_offset(call: Call) -> None:
    """A part without elements still moves the place of the next one."""
    at, axis = 0, call["axis"]
    out = np.moveaxis(call.out, axis, 0)
    for part in call.ins:
        n = part.shape[axis]
        out[at : at + n] = np.moveaxis(part, axis, 0)[: max(out.shape[0] - at, 0)]
        at += max(n, 1)


@FAMILY.plant("concat-of-many", "concat", "concat-float32-shapes-many")
def concat_of_many(call: Call) -> None:
    """The table of parts holds eight, and a ninth is taken from its beginning."""
    parts = list(call.ins)
    for i in range(8, len(parts)):
        if parts[i].shape == parts[i - 8].shape:
            parts[i] = parts[i - 8]
    call.finish(*parts)


@FAMILY.plant("pad-swapped", "pad", "pad-float32-values-pairs")
def pad_swapped(call: Call) -> None:
    """Widths before and after are swapped."""
    x, value = call.ins
    call.out[...] = value
    inner = tuple(slice(high, high + n) for (_, high), n in zip(call["pad_width"], x.shape, strict=True))
    call.out[inner] = x


@FAMILY.plant("pad-with-zero", "pad", "pad-float32-values-pairs", "pad-int32-values-pairs")
def pad_with_zero(call: Call) -> None:
    """The value is not read: padding is zero."""
    x, value = call.ins
    call.finish(x, np.zeros_like(value))


@FAMILY.plant("pad-corners", "pad", "pad-float32-values-pairs", "pad-float32-values-all")
def pad_corners(call: Call) -> None:
    """Each axis is padded on its own, and the corners are left alone."""
    x, value = call.ins
    inner = tuple(slice(low, low + n) for (low, _), n in zip(call["pad_width"], x.shape, strict=True))
    call.out[inner] = x
    for axis in range(x.ndim):
        (low, _), n = call["pad_width"][axis], x.shape[axis]
        for side in (slice(0, low), slice(low + n, None)):
            call.out[(*inner[:axis], side, *inner[axis + 1 :])] = value


@FAMILY.plant("unstable-sort", "argsort", "argsort-float32-values-ties", "argsort-int32-large-line")
def unstable_sort(call: Call) -> None:
    """The sort is not stable: equal elements come in any order."""
    x, axis = call.ins[0], call["axis"]
    backwards = order(np.flip(x, axis), axis, descending=call["descending"])
    found = x.shape[axis] - 1 - backwards
    call.out[...] = found if x.shape[axis] > 16 else order(x, axis, descending=call["descending"])


@FAMILY.plant("descending-by-reversal", "argsort", "argsort-float32-values-ties-descending")
def descending_by_reversal(call: Call) -> None:
    """Descending order is ascending order backwards, which turns ties around and puts NaN first."""
    x, axis = call.ins[0], call["axis"]
    call.out[...] = np.flip(order(x, axis, descending=False), axis) if call["descending"] else call.result()


@FAMILY.plant("nan-sorted-first", "argsort", "argsort-float32-values-hard-descending")
def nan_first(call: Call) -> None:
    """In descending order NaN counts as the largest."""
    x, axis = call.ins[0], call["axis"]
    if is_float(x) and call["descending"]:
        key = np.where(np.isnan(x), -np.inf, -x.astype(np.float64))
        nan_last = np.argsort(np.where(np.isnan(x), 0, 1), axis=axis, kind="stable")
        ranked = np.argsort(np.take_along_axis(key, nan_last, axis), axis=axis, kind="stable")
        call.out[...] = np.take_along_axis(nan_last, ranked, axis)
    else:
        call.finish()


@FAMILY.plant("zeros-in-order", "argsort", "argsort-float32-values-ties")
def zeros_in_order(call: Call) -> None:
    """-0 is sorted before +0, as a sort by bits does."""
    x, axis = call.ins[0], call["axis"]
    if is_float(x) and not call["descending"]:
        key = np.where((x == 0) & np.signbit(x), -1e-300, x.astype(np.float64))
        call.out[...] = np.argsort(key, axis=axis, kind="stable")
    else:
        call.finish()


@FAMILY.plant("sort-of-powers", "argsort", "argsort-float32-values-axis0", "argsort-int32-values-long")
def sort_of_powers(call: Call) -> None:
    """A bitonic network sorts lengths that are powers of two; of others the last element stays where it is."""
    call.finish()
    x, axis = call.ins[0], call["axis"]
    n = x.shape[axis]
    if n > 4 and n & (n - 1):
        head = order(np.take(x, range(n - 1), axis), axis, descending=call["descending"])
        line = np.moveaxis(call.out, axis, 0)
        line[: n - 1], line[n - 1] = np.moveaxis(head, axis, 0), n - 1


@FAMILY.plant("search-side", "searchsorted", "searchsorted-float32-values-right", "searchsorted-int32-values-right")
def search_side(call: Call) -> None:
    """Both sides are searched as the left one."""
    line, keys = call.ins
    left: Any = np.searchsorted(line.astype(np.float64), keys.astype(np.float64), side="left")
    call.out[...] = left if call["side"] == "right" else call.result()


@FAMILY.plant("ramp-by-adding", "iota", "iota-float16-values-wraps", "iota-float32-large-beyond-2**24")
def ramp_by_adding(call: Call) -> None:
    """A ramp of floats is made by adding 1 again and again, which stops where 1 is less than half a unit."""
    call.finish()
    if is_float(call.out):
        top = {2: 2048.0, 4: 2.0**24}.get(call.out.itemsize, np.inf)
        top = 256.0 if call.out.dtype.name == "bfloat16" else top
        call.out[...] = np.where(call.out > top, top, call.out)


@FAMILY.plant("ramp-of-last-axis", "iota", "iota-int32-values-axis0")
def ramp_of_last(call: Call) -> None:
    """A ramp of two axes runs along the last one."""
    if call.out.ndim == 2 and call["axis"] == 0:
        line = np.arange(call.out.shape[1])
        call.out[...] = from_integers(line, call.out.dtype) if is_float(call.out) else line
    else:
        call.finish()


@FAMILY.plant("counter-carry", "random_bits", "random_bits-uint32-values-carry", "random_bits-uint32-large-line")
def counter_carry(call: Call) -> None:
    """The lowest word of the counter wraps without a carry into the second one."""
    key, counter = call.ins
    flat, start = call.out.reshape(-1), int(counter[0])
    wrapped = 4 * (2**32 - start)
    call.finish()
    if wrapped < flat.size:
        rest = flat[wrapped:].copy()
        again = np.array([0, counter[1], counter[2], counter[3]], np.uint32)
        call.right(call.spec, rest, key, again)
        flat[wrapped:] = rest


@FAMILY.plant("words-in-columns", "random_bits", "random_bits-uint32-values-long")
def words_in_columns(call: Call) -> None:
    """A long result holds first words, then second words: not block after block."""
    call.finish()
    flat = call.out.reshape(-1)
    n = flat.size // 4 * 4
    if n > 512:
        flat[:n] = np.ascontiguousarray(flat[:n].reshape(-1, 4).T).reshape(-1)


@FAMILY.plant("copy-quiets-nan", "copy", "copy-float32-values-hard")
def copy_quiets(call: Call) -> None:
    """A copy through a float register makes a quiet NaN of a signalling one."""
    call.finish()
    if call.out.dtype == np.float32:
        bits = call.out.view(np.uint32)
        bits[np.isnan(call.out)] |= np.uint32(0x00400000)


@FAMILY.plant("copy-integers-by-float", "copy", "copy-int32-values-hard")
def copy_by_float(call: Call) -> None:
    """Integers are copied as floats, which hold 24 bits."""
    x = call.ins[0]
    near = np.clip(x.astype(np.float32).astype(np.float64), -(2.0**31), 2.0**31 - 1) if x.dtype == np.int32 else x
    call.finish(near.astype(x.dtype))


@FAMILY.plant("full-truncates", "full", "full-float32-values-grid")
def full_truncates(call: Call) -> None:
    """A constant passes through an integer on its way to the device."""
    value = call.ins[0]
    call.finish(np.trunc(value) if is_float(value) else value)


@FAMILY.plant("full-first-block", "full", "full-float32-large-rows", "full-int32-large-rows")
def full_first_block(call: Call) -> None:
    """A constant is written to the first 65,536 elements."""
    found = call.result().reshape(-1)
    call.out.reshape(-1)[: 1 << 16] = found[: 1 << 16]


@FAMILY.plant("clip-only-when-set", "scatter", "scatter-float32-values-add-clip", "scatter-int32-values-add-clip")
def clip_only_when_set(call: Call) -> None:
    """Places outside are clipped where updates replace, and dropped where they are added."""
    x, indices, updates = call.ins
    if call["reduction"] == "add" and call["mode"] == "clip":
        n = x.shape[call["axis"]]
        inside = (indices >= -n) & (indices < n)
        call.finish(x, indices[inside], np.compress(inside.reshape(-1), updates, axis=call["axis"]))
    else:
        call.finish()
