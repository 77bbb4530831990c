"""The turn to make calls on a mesh: not lost by an interrupt at any point, nor by a fork; news are not taken twice."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import pytest

import opmux as ox
from opmux.core.collectives import mesh as mesh_module
from opmux.core.collectives.control import Control
from opmux.core.collectives.exchange import Exchange
from opmux.opset.collectives.processes import Prepared
from tests.collectives.loop import Loop, job
from tests.collectives.test_processes import Hosts, meshes


def interrupted_at(point: int, codes: set[CodeType], use: Callable[[], object]) -> bool:
    """Raise an interrupt before the n-th instruction of some functions; return whether there is one."""
    left = [point]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code not in codes:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
        return trace

    usual = sys.gettrace()
    sys.settrace(trace)
    try:
        use()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(usual)
    return left[0] <= 0


def use_turn(mesh: ox.Mesh) -> None:
    turn = mesh.take_turn()
    try:
        pass
    finally:
        turn.release()


CODES = {use_turn.__code__, ox.Mesh.take_turn.__code__, ox.Mesh._left_behind.__code__, ox.Mesh.take_over.__code__}


def test_an_interrupt_at_any_point_leaves_the_turn_to_the_next_call(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        mesh, point = meshes(loop, hosts, (1, 1)), 0
        while interrupted_at(point := point + 1, CODES, lambda: use_turn(mesh)):
            # Interrupted while it takes over what the first interrupt may have left behind, too.
            interrupted_at(point, CODES, lambda: use_turn(mesh))
            use_turn(mesh)
        return point

    assert all(point > 20 for point in job(2, program))


def test_an_interrupt_at_any_point_of_a_small_call_does_so_too(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    def program(loop: Loop) -> Any:
        mesh, point = meshes(loop, hosts, (1, 1)), 0
        x = ox.ones(3, device=mesh.local_devices[0])
        ox.all_reduce(x, mesh)
        loop.network.met.wait(20)
        if loop.process == 0:
            monkeypatch.setattr(Exchange, "run", lambda *given: None)
            while interrupted_at(point := point + 1, {Prepared.at_once.__code__}, lambda: ox.all_reduce(x, mesh)):
                ox.all_reduce(x, mesh)
        loop.network.met.wait(60)
        return point

    assert job(2, program)[0] > 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_while_another_thread_is_in_a_call_may_take_its_turn(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        mesh, taken, over = meshes(loop, hosts, (1, 1)), threading.Event(), threading.Event()

        def in_a_call() -> None:
            turn = mesh.take_turn()
            try:
                taken.set()
                over.wait(60)
            finally:
                turn.release()

        thread = threading.Thread(target=in_a_call)
        thread.start()
        taken.wait(20)
        with pytest.raises(ox.CollectiveError, match="another thread"):
            use_turn(mesh)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks of a process with threads
            child = os.fork()
        if child == 0:
            try:
                use_turn(mesh)
                use_turn(mesh)
            except BaseException:
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        over.set()
        thread.join(20)
        use_turn(mesh)
        return status

    assert job(2, program) == [0, 0]


@pytest.mark.parametrize("use", [ox.Mesh.check, lambda mesh: mesh.group([0, 1])], ids=["check", "group"])
def test_news_are_left_to_the_thread_that_is_in_a_call(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, use: Callable[[ox.Mesh], object]
) -> None:
    polled: list[Control] = []
    poll = Control.poll
    monkeypatch.setattr(Control, "poll", lambda self: (polled.append(self), poll(self)))

    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1))
        ((_, control),) = mesh.lines()
        turn = mesh.take_turn()
        try:
            asked = threading.Thread(target=use, args=(mesh,))
            asked.start()
            asked.join(20)
            during = control in polled
        finally:
            turn.release()
        use(mesh)
        return during, control in polled

    assert job(2, program) == [(False, True)] * 2


def test_who_looks_for_news_holds_up_no_call(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = threading.Event()
    poll = Control.poll

    def slow(self: Control) -> None:
        looking.set()
        time.sleep(0.05)
        poll(self)

    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1))
        x = ox.ones(3, device=mesh.local_devices[0])
        loop.network.met.wait(20)
        if loop.process == 0:
            with monkeypatch.context() as patch:
                patch.setattr(Control, "poll", slow)
                thread = threading.Thread(target=mesh.check)
                thread.start()
                looking.wait(20)
                use_turn(mesh)
                thread.join(20)
        loop.network.met.wait(20)
        return ox.all_reduce(x, mesh).tolist()

    assert job(2, program) == [[2.0] * 3] * 2


def test_who_takes_over_what_was_left_behind_shares_it_with_nobody(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Meeting:
        """The lock of those that take over: where it is given back, another thread comes to the turn."""

        def __init__(self, mesh: ox.Mesh) -> None:
            self.mesh, self.met = mesh, list[object]()

        def __enter__(self) -> None:
            pass

        def __exit__(self, *given: object) -> None:
            other = threading.Thread(target=self.other)
            if threading.current_thread() not in self.met:
                self.met.append(other)
                other.start()
                other.join(20)

        def other(self) -> None:
            self.met.append(threading.current_thread())
            try:
                use_turn(self.mesh)
            except ox.CollectiveError as error:
                self.met.append(error.cause)

    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1))
        mesh.take_turn()  # and nobody gives it back
        meeting = Meeting(mesh)
        if loop.process == 0:
            monkeypatch.setattr(mesh_module, "_taking_over", meeting)
            use_turn(mesh)
        return meeting.met[2:]

    assert job(2, program) == [["busy"], []]
