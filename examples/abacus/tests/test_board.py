"""What only this board can tell: late statuses, its loss, its memory. The suite itself runs apart, see README.md."""

import subprocess
import sys

import pytest
from opmux_abacus.device import FAULT, LIBRARY, PARITY, Driver, launch

import opmux as ox


@pytest.fixture
def driver():
    return ox.device("abacus").driver


@pytest.fixture
def x():
    return ox.asarray([[1.0, 2.0], [3.0, 4.0]], device="abacus")


def test_a_parity_error_reaches_whoever_reads_the_result(x, driver):
    driver.inject(PARITY, n=2)
    good, bad = x + 1, x + 2
    worse = bad @ x
    assert good.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    with pytest.raises(ox.KernelError, match=r"add failed in kernel add of backend abacus: .*parity error"):
        worse.tolist()
    assert (x + 2).tolist() == [[3.0, 4.0], [5.0, 6.0]]


def test_a_command_outside_of_the_memory_is_a_fault_and_no_crash(driver):
    class Nowhere:
        ptr = 1 << 50

    from opmux_abacus.kernels import IOTA, TYPES, step

    words = step(IOTA, [[0, 0, TYPES["int32"], 1, 4, 1]], [4, 1])
    queue = driver.open_queue()
    event = launch(queue, [Nowhere], b"".join(w.to_bytes(8, "little") for w in words))
    assert LIBRARY.ab_status(event.queue, event.ticket) == FAULT


def test_memory_comes_back():
    board = Driver()
    queue = board.open_queue()
    for _ in range(20):
        handles = [board.alloc(100 << 20, queue) for _ in range(10)]
        for handle in handles[::2] + handles[1::2]:
            board.free(handle, ())
    with pytest.raises(MemoryError, match="full"):
        board.alloc(2 << 30, queue)


def test_work_of_one_queue_waits_for_that_of_another(x):
    other = x.device.queue()
    with ox.use_queue(other):
        y = x @ x
    assert (y + y).tolist() == [[14.0, 20.0], [30.0, 44.0]]


LOSS = """
import opmux as ox
from opmux_abacus.device import LOST
x = ox.asarray([1.0], device="abacus")
x.device.driver.inject(LOST)
y = x + x
for use in (y.tolist, lambda: ox.ones(2, device="abacus")):
    try:
        use()
    except ox.DeviceLostError as error:
        print("lost:", error)
print(ox.ones(2).tolist())
"""


def test_a_lost_board_says_so_and_leaves_the_host_alone():
    done = subprocess.run([sys.executable, "-c", LOSS], check=False, capture_output=True, text=True, timeout=120)
    assert done.stdout.count("lost: ") == 2, done.stderr
    assert done.stdout.endswith("[1.0, 1.0]\n")
