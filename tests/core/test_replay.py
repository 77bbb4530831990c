"""Compiled functions on a device that replays work: the values of every call, in order, on memory that is its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.plugins import manager
from opmux.plugin import Kernel, Prepared, hookimpl
from tests.remote.kernels import kernels
from tests.remote.replaying import ReplayingDriver, ReplayingPlugin

N = 64


@pytest.fixture
def driver() -> Iterator[ReplayingDriver]:
    plugin = ReplayingPlugin()
    manager.register("remote", plugin)
    yield plugin.driver
    manager.unregister("remote")


def given(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(N).astype(np.float32)


def put(x: np.ndarray) -> ox.Array:
    return ox.asarray(x, device="remote")


def chain(x: Any) -> Any:
    return ox.exp(ox.negative(ox.multiply(x, x)))


def expected(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x * x))


def test_a_loop_is_recorded_for_each_memory_that_comes_again_and_gives_every_calls_values(
    driver: ReplayingDriver,
) -> None:
    f, operands = ox.compile(chain), [put(given(1)), put(given(2))]
    for call in range(10):
        assert (f(operands[call % 2]).numpy() == expected(given(1 + call % 2))).all()
    # The first call is noted, two see their memory first, two record.
    assert (driver.recorded, driver.replayed) == (2, 5)


def test_memory_that_is_new_at_every_call_is_not_recorded(driver: ReplayingDriver) -> None:
    f = ox.compile(chain)
    x = put(given(1))
    kept = [f(x) for _ in range(6)]
    assert all((y.numpy() == expected(given(1))).all() for y in kept)
    assert driver.recorded == 0


def test_more_memory_by_turns_than_is_kept_is_not_recorded_over_and_over(driver: ReplayingDriver) -> None:
    f, operands = ox.compile(chain), [put(given(i)) for i in range(12)]
    for _ in range(8):
        for i, x in enumerate(operands):
            assert (f(x).numpy() == expected(given(i))).all()
    assert driver.recorded <= 8 + 12 * 8 // 16
    before = driver.replayed
    for _ in range(40):
        f(operands[-1])
    assert driver.replayed - before >= 20, "a loop that settles is replayed"


def test_results_that_are_kept_are_not_written_again(driver: ReplayingDriver) -> None:
    f = ox.compile(chain)
    for seed in range(5):
        f(put(given(seed))).numpy()
    first = f(put(given(7)))
    for seed in range(5):
        f(put(given(seed)))
    assert (first.numpy() == expected(given(7))).all()


def test_operands_that_were_one_at_first_may_be_two_later(driver: ReplayingDriver) -> None:
    f = ox.compile(lambda x, y: ox.negative(ox.add(ox.exp(x), y)))
    x, y = given(1), given(2)
    for a, b in ((x, x), (x, y), (x, x), (x, y), (y, x), (x, y), (y, x), (x, y)):
        one, two = put(a), put(b)
        assert (f(one, one if a is b else two).numpy() == -(np.exp(a) + b)).all()


def test_an_operand_may_begin_elsewhere_in_its_memory(driver: ReplayingDriver) -> None:
    f = ox.compile(chain)
    whole = put(given(1))
    for _ in range(3):
        for at in (16, 0, 32):
            assert (f(whole[at : at + 16]).numpy() == expected(given(1)[at : at + 16])).all()
    assert driver.replayed > 0


def test_results_may_be_views_operands_constants_and_each_other(driver: ReplayingDriver) -> None:
    constant = put(given(3))

    def several(x: Any) -> Any:
        y = ox.exp(ox.negative(x))
        z = ox.multiply(y, constant)
        return y, y[8:24], x, constant, ox.flip(z), x[::2]

    f = ox.compile(several)
    for seed in range(12):
        x = given(seed)
        y = np.exp(-x)
        wanted = y, y[8:24], x, given(3), (y * given(3))[::-1], x[::2]
        operand = put(x)
        found = f(operand)
        assert len({id(a) for a in (operand, *found)}) == 7
        assert all((a.numpy() == b).all() for a, b in zip(found, wanted, strict=True))
    assert driver.replayed > 0


def test_a_constant_that_is_an_operand_of_the_first_call_is_none_of_the_next(driver: ReplayingDriver) -> None:
    constant, other = put(given(1)), put(given(2))
    f = ox.compile(lambda x: ox.negative(ox.add(ox.exp(x), constant)))
    for x, values in ((constant, given(1)), *((other, given(2)),) * 5, (constant, given(1))):
        assert (f(x).numpy() == -(np.exp(values) + given(1))).all()
    assert driver.replayed > 0


def test_intermediates_share_memory_once_they_are_read(driver: ReplayingDriver) -> None:
    def long(x: Any) -> Any:
        for _ in range(10):
            x = ox.negative(ox.exp(x))
        return x

    f, x = ox.compile(long), given(1)
    f(put(x))
    operand = put(x)
    driver.sizes.clear()
    found = f(operand).numpy()
    assert driver.sizes == [4 * N, 2 * 4 * N]
    for _ in range(10):
        x = -np.exp(x)
    assert (found == x).all()


def test_memory_that_is_enough_step_by_step_is_enough(driver: ReplayingDriver) -> None:
    def long(x: Any) -> Any:
        for _ in range(4):
            x = ox.negative(ox.exp(x))
        return x

    alloc, most = driver.alloc, [0]
    f, x = ox.compile(long), given(1)
    operand = put(x)

    def short(nbytes: int, queue: Any) -> Any:
        if nbytes > most[0]:
            raise MemoryError("there is no block of that size")
        return alloc(nbytes, queue)

    driver.alloc, most[0] = short, operand.nbytes  # type: ignore[method-assign]
    for _ in range(4):
        x = -np.exp(x)
    assert [(f(operand).numpy() == x).all() for _ in range(4)] == [True] * 4
    most[0] = 0
    with pytest.raises(ox.OutOfMemoryError):
        f(operand)


def test_an_intermediate_that_is_read_late_is_still_there(driver: ReplayingDriver) -> None:
    def late(x: Any) -> Any:
        y = ox.exp(x)
        z = ox.negative(ox.multiply(ox.negative(y), y))
        return ox.negative(ox.add(ox.exp(ox.negative(z)), y))

    f = ox.compile(late)
    for seed in range(4):
        x = given(seed)
        y = np.exp(x)
        assert (f(put(x)).numpy() == -(np.exp(-(y * y)) + y)).all()


def test_threads_with_queues_of_their_own_do_not_meet(driver: ReplayingDriver) -> None:
    f, device = ox.compile(chain), ox.device("remote")
    failed: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            with ox.use_queue(device.queue()):
                for i in range(30):
                    x = given(seed * 100 + i)
                    assert (f(put(x)).numpy() == expected(x)).all()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_threads_on_one_queue_share_replays(driver: ReplayingDriver) -> None:
    f, x, failed = ox.compile(chain), put(given(1)), []
    f(x)

    def work() -> None:
        try:
            for _ in range(100):
                assert (f(x).numpy() == expected(given(1))).all()
        except BaseException as error:
            failed.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failed == []
    assert driver.replayed > 0


def test_a_device_that_cannot_record_is_asked_once(driver: ReplayingDriver) -> None:
    driver.refuses = True
    asked: list[Callable[..., None]] = []
    whole = driver.replayable
    driver.replayable = lambda put: (asked.append(put), whole(put))[1]  # type: ignore[method-assign]
    f = ox.compile(chain)
    for seed in range(8):
        assert (f(put(given(seed))).numpy() == expected(given(seed))).all()
    assert len(asked) == 1


def test_a_launch_that_fails_is_named_and_the_next_call_works(driver: ReplayingDriver) -> None:
    f, x = ox.compile(chain), put(given(1))
    f(x)
    pointer, calls = driver.pointer, iter(range(100))

    def broken(*args: Any) -> Any:
        if next(calls) == 6:  # of the second launch, after three of the call and three of the first
            raise RuntimeError("no pointer")
        return pointer(*args)

    driver.pointer = broken  # type: ignore[method-assign]
    with pytest.raises(ox.KernelError, match=r"negative failed in kernel negative of backend remote .*no pointer"):
        f(x)
    assert (f(x).numpy() == expected(given(1))).all()


def test_kernels_of_others_are_launched_and_not_recorded(driver: ReplayingDriver) -> None:
    class Other:
        @hookimpl
        def opmux_kernels(self) -> list[Kernel]:
            (exp,) = (k for k in kernels() if k.op == "exp")

            def prepare(spec: Any) -> Prepared:
                made: Any = exp.prepare(spec)
                return Prepared(lambda *args: made.launch(*args) and None)

            return [replace(exp, name="other", priority=1, prepare=prepare)]

    manager.register("other", Other())
    try:
        f = ox.compile(chain)
        for seed in range(6):
            assert (f(put(given(seed))).numpy() == expected(given(seed))).all()
        assert driver.recorded == 0
    finally:
        manager.unregister("other")


def test_steps_are_counted_where_somebody_counts(driver: ReplayingDriver) -> None:
    f = ox.compile(chain)
    for seed in range(4):
        f(put(given(seed)))
    with ox.count_calls() as seen:
        f(put(given(1)))
    assert {c.decision.op.name for c in seen.steps()} >= {"multiply", "negative", "exp"}
