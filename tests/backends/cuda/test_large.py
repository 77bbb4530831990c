"""Arrays of more than 2**31 elements, on a GPU that carries nothing out: launches stay within CUDA's limits."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator

import pytest

import opmux as ox
from opmux.backends.cuda.device import launching
from opmux.backends.cuda.device.launching import Pointer, Step
from opmux.backends.cuda.device.runtime import Properties
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.resources.calls import Recorder

#: Of a grid and of a block (CUDA C++ Programming Guide, technical specifications).
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_THREADS = 1024
WIDE = 2**32 + 3


class Endless(Recorder):
    """A GPU with memory that nobody touches."""

    def __init__(self) -> None:
        super().__init__()
        self.properties = Properties("NVIDIA H200", (9, 0), 1 << 60, 132, 1.98e9, 4.9e12, 60 << 20)
        self.next = 1 << 44

    def allocate(self, nbytes: int, stream: object) -> int:
        self.next += -(-max(nbytes, 1) // 256) * 256
        return self.next - -(-max(nbytes, 1) // 256) * 256

    def release(self, pointer: int, stream: object) -> None:
        """There is enough."""

    def upload(self, pointer: int, source: object, stream: object) -> None:
        """There is nowhere to put it."""

    def check(self, pointer: int, nbytes: int) -> None:
        """There is nothing to look at."""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Step]]:
    """Whatever is launched, with its arguments."""
    found: list[Step] = []

    class Layout(launching._Layout):
        def __init__(self, given: list[Step]) -> None:
            found.extend(given)
            super().__init__(given)

    monkeypatch.setattr(launching, "_Layout", Layout)
    with registered(OnHost(Endless())), ox.policy(fallback="forbid"):
        yield found


def entry_of(step: Step) -> str:
    return step.function._name


def zeros(*shape: int, dtype: ox.DType = ox.int8) -> ox.Array:
    return ox.zeros(shape, dtype=dtype, device="cuda:0")


def softmax(axis: int, *shape: int) -> Callable[[], object]:
    return lambda: ox.compile(lambda x: ox.softmax(x, axis=axis))(zeros(*shape, dtype=ox.float32))


def product(a: tuple[int, ...], b: tuple[int, ...], dtype: ox.DType) -> Callable[[], object]:
    return lambda: ox.matmul(zeros(*a, dtype=dtype), zeros(*b, dtype=dtype))


CALLS: dict[str, Callable[[], object]] = {
    "scan of one chain": lambda: ox.cumulative_sum(zeros(WIDE), axis=0),
    "scan of floats of one chain": lambda: ox.cumulative_sum(zeros(WIDE, dtype=ox.float32), axis=0),
    "scan of many chains along": lambda: ox.cumulative_sum(zeros(2**26, 67), axis=1),
    "scan of many chains across": lambda: ox.cumulative_sum(zeros(67, 2**26), axis=0),
    "scan of chains that 32 bits do not count": lambda: ox.cumulative_sum(zeros(3, WIDE), axis=0),
    "sum of all": lambda: ox.sum(zeros(WIDE)),
    "sum of rows that 32 bits do not count": lambda: ox.sum(zeros(WIDE, 40), axis=1),
    "sum of columns that 32 bits do not count": lambda: ox.sum(zeros(40, WIDE), axis=0),
    "sum of few": lambda: ox.sum(zeros(WIDE, 3), axis=1),
    **{
        f"{name} of {dtype}": product(a, b, dtype)
        for dtype in (ox.float32, ox.bfloat16, ox.int8)
        for name, a, b in (
            ("large product", (2**17, 64), (64, 2**17)),
            ("product of many rows", (WIDE, 8), (8, 8)),
            ("product of many columns", (3, 8), (8, WIDE)),
            ("product of many terms", (64, WIDE), (WIDE, 64)),
            ("large batch", (2**32, 8, 8), (2**32, 8, 8)),
            ("batch of two axes", (2**17, 2**17, 2, 2), (2**17, 1, 2, 2)),
        )
    },
    "rows held": softmax(1, 2**22, 1024),
    "rows that 32 bits do not count": softmax(1, 2**31 + 8, 64),
    "one long row": softmax(1, 2, WIDE),
    "columns held": softmax(0, 1024, 2**22),
    "columns that 32 bits do not count": softmax(0, 64, 2**31 + 8),
    "long columns": softmax(0, WIDE, 4),
    "concat": lambda: ox.concat([zeros(WIDE), zeros(WIDE)]),
    "concat of columns": lambda: ox.concat([zeros(2**31, 3), zeros(2**31, 2)], axis=1),
    "gather from many": lambda: ox.gather(zeros(WIDE, 3), zeros(5, dtype=ox.int64)),
    "gather of many": lambda: ox.gather(zeros(5, 3), zeros(WIDE, dtype=ox.int64)),
    "copy of transposed": lambda: ox.copy(ox.permute_dims(zeros(2**16, 2**17), (1, 0))),
    "copy of a transposed thin one": lambda: ox.copy(ox.permute_dims(zeros(WIDE, 3), (1, 0))),
}


@pytest.mark.parametrize("name", CALLS)
def test_launches_stay_within_the_limits(steps: list[Step], name: str) -> None:
    CALLS[name]()
    assert steps
    for step in steps:
        assert all(1 <= n <= most for n, most in zip(step.blocks, MOST_BLOCKS, strict=True)), step.blocks
        assert math.prod(step.threads) <= MOST_THREADS


#: Calls that take several launches: the entry, what all of them count, and the bytes of the result for one of that.
CUT: dict[str, tuple[str, int, int]] = {
    "scan of chains that 32 bits do not count": ("scan_across", WIDE, 8),
    "sum of rows that 32 bits do not count": ("reduce_rows", WIDE, 8),
    "sum of columns that 32 bits do not count": ("reduce_columns", WIDE, 8),
    "sum of few": ("reduce_few", WIDE, 8),
    "gather of many": ("gather_u8", 3 * WIDE, 1),
    "large batch of float32": ("matmul_skinny_across_8", 2**32, 64 * 4),
    "large batch of bfloat16": ("matmul_mma_64x64", 2**32, 64 * 2),
    "large batch of int8": ("matmul_mma_64x64", 2**32, 64),
}


@pytest.mark.parametrize(("name", "entry", "total", "size"), [(k, *v) for k, v in CUT.items()], ids=CUT)
def test_what_32_bits_do_not_count_is_cut(steps: list[Step], name: str, entry: str, total: int, size: int) -> None:
    CALLS[name]()
    done = 0
    for step in (s for s in steps if entry_of(s) == entry):
        *_, result = (a for a in step.arguments if isinstance(a, Pointer))
        assert result.offset == done * size
        first = step.arguments[0]
        assert isinstance(first, bytes)
        count = step.blocks[0] if entry.startswith("matmul") else int.from_bytes(first, "little")
        assert 0 < count <= 2**31
        done += count
    assert done == total


@pytest.mark.parametrize(
    ("name", "entry", "is_taken"),
    [
        ("rows held", "reduce_whole_rows", True),
        ("rows that 32 bits do not count", "reduce_whole_rows", False),
        ("one long row", "reduce_whole_rows", False),
        ("columns held", "reduce_whole_columns", True),
        ("columns that 32 bits do not count", "reduce_whole_columns", False),
        ("long columns", "reduce_whole_columns", False),
    ],
)
def test_kernels_over_whole_rows_decline_what_they_do_not_count(
    steps: list[Step], name: str, entry: str, is_taken: bool
) -> None:
    CALLS[name]()
    assert (entry in map(entry_of, steps)) is is_taken


def test_lengths_and_strides_of_products_have_64_bits(steps: list[Step]) -> None:
    CALLS["product of many terms of bfloat16"]()
    step = next(s for s in steps if entry_of(s).startswith("matmul_mma"))
    assert struct.unpack_from("<5q", step.arguments[0]) == (64, 64, WIDE, WIDE, 1)
