"""The pool runs every task, waits for all, and survives failures and forks."""

import os
import signal
import threading
import time

import pytest

from opmux.core.devices.threads import run_all, thread_count
from opmux.core.errors import ArgumentError


def test_tasks_run_side_by_side():
    barrier = threading.Barrier(4, timeout=20)
    run_all([barrier.wait] * 4)


def test_a_failure_is_raised_after_all_have_finished():
    finished = []
    release = threading.Event()

    def fail():
        release.set()
        raise ValueError("broken part")

    def slow():
        release.wait(20)
        finished.append(True)

    with pytest.raises(ValueError, match="broken part"):
        run_all([fail, slow])
    assert finished == [True]
    with pytest.raises(ValueError, match="broken part"):
        run_all([slow, fail])
    assert finished == [True, True]


def _interrupt(*_):
    raise KeyboardInterrupt


def test_an_interrupt_comes_out_after_the_tasks_that_have_begun():
    begun, left, finished = threading.Event(), threading.Event(), []

    def short():
        begun.wait(20)
        left.set()

    def slow():
        begun.set()
        left.wait(20)
        signal.setitimer(signal.ITIMER_REAL, 0.1)  # when the caller's thread waits for this one
        time.sleep(0.4)
        finished.append(True)

    before = signal.signal(signal.SIGALRM, _interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_all([short, slow])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert finished == [True]


def test_an_interrupted_task_gives_up_those_that_have_not_begun():
    begun, done = threading.Event(), []

    def slow():
        begun.set()
        time.sleep(0.2)
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        run_all([slow, _interrupt, *[lambda: done.append(False)] * 100])
    count = len(done)
    time.sleep(0.3)
    assert len(done) == count


def test_without_threads_the_caller_does_it_all(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = []
    run_all([lambda: done.append(True)] * 64)
    assert len(done) == 64


def test_several_threads_may_use_the_pool_at_once():
    counts = [0] * 6

    def use(number):
        for _ in range(50):
            done = []
            run_all([lambda done=done: done.append(1)] * 3)
            counts[number] += len(done)

    users = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert counts == [150] * 6


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_of_fork_gets_workers_of_its_own():
    run_all([int, int, int])
    child = os.fork()
    if child == 0:
        barrier = threading.Barrier(3, timeout=10)
        try:
            run_all([barrier.wait] * 3)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_environment_sets_the_number_of_threads(monkeypatch):
    monkeypatch.setenv("OPMUX_NUM_THREADS", "3")
    assert thread_count() == 3
    monkeypatch.setenv("OPMUX_NUM_THREADS", "")
    assert thread_count() >= 1
    for wrong in ("0", "-1", "many"):
        monkeypatch.setenv("OPMUX_NUM_THREADS", wrong)
        with pytest.raises(ArgumentError, match="OPMUX_NUM_THREADS"):
            thread_count()
