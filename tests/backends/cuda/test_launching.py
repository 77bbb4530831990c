"""Arguments of launches: what a kernel is given, and that calls at once do not get each other's."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from opmux.backends.cuda.device.launching import Pointer, Step, blocks_for, launcher

#: Sizes of the arguments of each function.
SIZES = {1: (8, 4, 16, 8), 2: (8, 64)}


class Recorder:
    """A runtime that reads the arguments as CUDA does, after it has let something else happen."""

    def __init__(self) -> None:
        self.seen: list[list[bytes]] = []
        self.before: Callable[[], None] = lambda: None

    def launching(
        self, function: int, grid: object, block: object, shared: int, arguments: int
    ) -> Callable[[object], None]:
        return lambda stream: self.launch(function, arguments)

    def launch(self, function: int, arguments: int) -> None:
        before, self.before = self.before, lambda: None
        before()
        sizes = SIZES[function]
        addresses = struct.unpack(f"<{len(sizes)}Q", ctypes.string_at(arguments, 8 * len(sizes)))
        self.seen.append([ctypes.string_at(a, n) for a, n in zip(addresses, sizes, strict=True)])


class Made:
    """An entry that is loaded already."""

    def __init__(self, function: object) -> None:
        self.loaded = lambda: function


def arrays(*addresses: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(ptr=a) for a in addresses]


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


STEPS = (
    Step(Made(1), (1, 1, 1), (1, 1, 1), [Pointer(1), b"abcd", (Pointer(0, 24), Pointer(2)), Pointer(3)]),
    Step(Made(2), (1, 1, 1), (1, 1, 1), [Pointer(2, 8), bytes(range(64))]),
)


def test_kernels_get_values_addresses_and_structs_of_them_in_order() -> None:
    runtime = Recorder()
    launcher(runtime, STEPS)(arrays(300), arrays(100, 200), arrays(400)[0], None)
    assert runtime.seen == [
        [words(200), b"abcd", words(124, 300), words(400)],
        [words(308), bytes(range(64))],
    ]


@pytest.mark.parametrize("operands", [[100], [100, 200], [100, 200, 300], [100, 200, 300, 400], [100, None]], ids=str)
def test_addresses_come_in_order_whatever_their_number(operands: list[int | None]) -> None:
    runtime = Recorder()
    SIZES[3] = (8,) * (len(operands) + 1)
    ins = [None if a is None else arrays(a)[0] for a in operands]
    launch = launcher(runtime, [Step(Made(3), (1, 1, 1), (1, 1, 1), [Pointer(i) for i in range(len(ins) + 1)])])
    for out in (500, 600):
        launch(arrays(out), ins, None, None)
    assert runtime.seen == [[words(a or 0) for a in (*operands, out)] for out in (500, 600)]


def test_addresses_of_large_values_are_aligned_to_16() -> None:
    found: list[int] = []

    def launching(*given: Any) -> Callable[[object], None]:
        return lambda stream: found.append(ctypes.c_uint64.from_address(given[-1] + 8).value % 16)

    runtime = SimpleNamespace(launching=launching)
    launcher(runtime, [Step(Made(2), (1, 1, 1), (1, 1, 1), [Pointer(0), bytes(64)])])(arrays(1), [], None, None)
    assert found == [0]


def test_a_call_inside_of_another_leaves_its_arguments_alone() -> None:
    runtime = Recorder()
    launch = launcher(runtime, STEPS[1:])
    launch(arrays(0), arrays(0, 0), None, None)
    runtime.before = lambda: launch(arrays(7), arrays(5, 6), None, None)
    launch(arrays(3), arrays(1, 2), None, None)
    assert [seen[0] for seen in runtime.seen[1:]] == [words(15), words(11)]


def test_a_failed_launch_leaves_the_next_one_alone() -> None:
    runtime = Recorder()
    launch = launcher(runtime, STEPS[1:])

    def fail() -> None:
        raise RuntimeError("no")

    runtime.before = fail
    with pytest.raises(RuntimeError, match="no"):
        launch(arrays(3), arrays(1, 2), None, None)
    launch(arrays(30), arrays(10, 20), None, None)
    assert runtime.seen[0][0] == words(38)


@pytest.mark.parametrize(
    ("work", "each", "blocks"), [(0, 256, 1), (1, 256, 1), (257, 256, 2), (2**45, 1024, 2**31 - 1)]
)
def test_grids_hold_the_work_within_the_limit(work: int, each: int, blocks: int) -> None:
    assert blocks_for(work, each) == (blocks, 1, 1)
