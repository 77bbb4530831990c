"""Meshes over several processes, which are threads here: the same program, the same results, and typed failures."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.op import COLLECTIVES, public_of
from tests.collectives.loop import Loop, job
from tests.collectives.test_calls import CALLS, IDS, Array, same, tree

Hosts = tuple[ox.Device, ...]
#: Each of three processes brings so many devices.
SPREADS = [(1, 1, 1), (2, 2), (1, 2, 1)]


def meshes(loop: Loop, hosts: Hosts, spread: tuple[int, ...], timeout: float = 20.0) -> ox.Mesh:
    first = sum(spread[: loop.process])
    return ox.Mesh(hosts[first : first + spread[loop.process]], communicator=loop, timeout=timeout)


def values(n: int, shape: tuple[int, ...] = (5, 3)) -> list[Array]:
    return [np.random.default_rng(r).integers(0, 3, shape).astype(np.float32) for r in range(n)]


@pytest.mark.parametrize(("name", "given"), CALLS, ids=IDS)
@pytest.mark.parametrize("spread", SPREADS, ids=str)
def test_each_process_gets_its_ranks_results(
    hosts: Hosts, spread: tuple[int, ...], name: str, given: dict[str, Any]
) -> None:
    terms = values(sum(spread))
    op = COLLECTIVES[name]
    defaults = {p.name: p.default for p in op.parameters[2:]}
    wanted = op.declaration.body(np, [t.astype(np.float64) for t in terms], None, **{**defaults, **given})  # type: ignore[attr-defined]

    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, spread)
        arrays = [ox.asarray(terms[r], device=d) for r, d in zip(mesh.local_ranks, mesh.local_devices, strict=True)]
        return public_of(op)(arrays, mesh, **given)

    same([y for found in job(len(spread), program) for y in found], wanted)


@pytest.mark.parametrize("spread", [(8,), (4, 4), (3, 3, 2), (1, 7)], ids=str)
def test_canonical_bits_are_those_of_one_process(hosts: Hosts, spread: tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    blocks = (rng.standard_normal((8, 300)) * 10.0 ** rng.integers(-6, 6, (8, 300))).astype(np.float32)
    parts = np.split(blocks, np.cumsum(spread)[:-1])

    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1,) * len(spread))
        with ox.policy(determinism="canonical"):
            x = ox.asarray(parts[loop.process], device=mesh.local_devices[0])
            return ox.all_reduce(x, mesh, axis=0, sizes=spread).numpy()

    for found in job(len(spread), program):
        np.testing.assert_array_equal(found.view(np.int32), tree(list(blocks)).view(np.int32))


def test_lengths_of_other_processes_are_what_sizes_say(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1, 1))
        x = ox.full(loop.process, loop.process, device=mesh.local_devices[0])
        return ox.all_gather(x, mesh, sizes=(0, 1, 2)).tolist()

    assert job(3, program) == [[1.0, 2.0, 2.0]] * 3


def test_several_handles_end_in_any_order(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1))
        x = ox.asarray([float(loop.process)], device=mesh.local_devices[0])
        handles = [ox.all_gather(x, mesh, wait=False), ox.all_reduce(x, mesh, wait=False)]
        order = handles if loop.process else handles[::-1]
        found = {id(h): h.wait().tolist() for h in order}
        return [found[id(h)] for h in handles]

    assert job(2, program) == [[[0.0, 1.0], [1.0]]] * 2


def test_groups_messages_and_a_barrier(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1, 1, 1))
        x = ox.asarray([2.0**loop.process], device=mesh.local_devices[0])
        row = next(m for m in mesh.split((2, 2), 1) if m.local_ranks)
        total = ox.all_reduce(x, row).tolist()
        if loop.process == 0:
            ox.send(x, mesh, target=3)
        if loop.process == 3:
            total += ox.recv(mesh, source=0, shape=1, dtype="float32").tolist()
        ox.barrier(mesh)
        return total

    assert job(4, program) == [[3.0], [3.0], [12.0], [12.0, 1.0]]


def test_a_group_without_a_local_rank_gives_nothing(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1))
        group = mesh.group([1])
        return ox.all_reduce([ox.ones(1, device=d) for d in group.local_devices], group)

    assert [len(found) for found in job(2, program)] == [0, 1]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x, mesh: ox.all_reduce(x, mesh, reduction="max"), "all_reduce"),
        (lambda x, mesh: ox.broadcast(x, mesh), "broadcast"),
        (lambda x, mesh: ox.all_reduce(ox.ones(4, device=x.device), mesh), "float32[4]"),
        (lambda x, mesh: ox.all_reduce(ox.ones(3, dtype="int32", device=x.device), mesh), "int32"),
    ],
    ids=["reduction", "collective", "shape", "dtype"],
)
def test_another_call_is_an_error_on_every_rank(hosts: Hosts, call: Any, says: str) -> None:
    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1, 1))
        x = ox.ones(3, device=mesh.local_devices[0])
        errors = []
        for attempt in (call if loop.process == 1 else ox.all_reduce, ox.all_reduce):
            with pytest.raises(ox.CollectiveError) as caught:
                attempt(x, mesh)
            errors.append(caught.value)
        loop.network.met.wait(20)  # nobody ends before all have seen what is wrong
        return errors

    for first, second in job(3, program):
        assert (first.rank, first.cause, first.sequence) == (1, "mismatch", 1)
        assert says in str(first)
        assert "failed in call 1" in str(second)


def test_a_rank_that_ends_or_stays_away_is_named(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1, 1), timeout=1.0)
        if loop.process == 2:
            raise RuntimeError("this rank dies")
        ox.all_reduce(ox.ones(3, device=mesh.local_devices[0]), mesh)

    first, second, _ = job(3, program)
    assert isinstance(first, ox.CollectiveError)
    assert isinstance(second, ox.CollectiveError)
    assert (first.rank, second.rank, first.cause) == (2, 2, "died")


def test_processes_with_other_plugins_do_not_meet(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        def change(record: bytes) -> bytes:
            said = json.loads(record)
            said["plugins"]["acme"] = "9"
            return json.dumps(said).encode()

        if loop.process == 1:
            loop.changed = change
        return meshes(loop, hosts, (1, 1))

    for error in job(2, program):
        assert isinstance(error, ox.CollectiveError)
        assert "process 1 has plugins" in str(error)
        assert "acme" in str(error)


def test_explain_prices_algorithms_over_the_link(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1, 1, 1))
        small, large = (ox.ones(n, device=mesh.local_devices[0]) for n in (1, 1 << 20))
        return [ox.explain(ox.all_reduce, [x], mesh).chosen for x in (small, large)]

    found = job(4, program)
    assert found == [found[0]] * 4  # every process chooses alike
    assert found[0] == ["one-shot", "rabenseifner"]


def test_an_interrupted_wait_tells_the_other_ranks_at_once(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(idle: int) -> None:
        if threading.current_thread() is alone[0]:
            raise KeyboardInterrupt

    alone: list[threading.Thread] = []
    monkeypatch.setattr("opmux.core.collectives.begun.rest", interrupted)

    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1))
        x = ox.ones(3, device=mesh.local_devices[0])
        if loop.process == 0:
            alone.append(threading.current_thread())
            with ox.policy(pins={"all_reduce": "ring"}):  # whose second step waits for the other rank
                handle = ox.all_reduce(x, mesh, wait=False)
            for _ in range(2):  # a second wait is told the same, and given no half of a result
                with pytest.raises(KeyboardInterrupt):
                    handle.wait()
            loop.network.met.wait(20)
            return None
        loop.network.met.wait(20)  # it comes only after the interrupt
        with ox.policy(pins={"all_reduce": "ring"}), pytest.raises(ox.CollectiveError) as caught:
            ox.all_reduce(x, mesh)
        return caught.value

    _, error = job(2, program)
    assert (error.rank, error.cause) == (0, "aborted by rank 0")


def test_a_second_thread_on_a_mesh_is_refused_and_the_first_goes_on(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1))
        x = ox.ones(3, device=mesh.local_devices[0])
        ox.all_reduce(x, mesh)
        if loop.process == 0:
            found: list[Any] = []
            first = threading.Thread(target=lambda: found.append(ox.all_reduce(x, mesh).tolist()))
            first.start()
            while not mesh.in_use.locked():
                pass
            for use in (lambda: ox.all_reduce(x, mesh), lambda: ox.barrier(mesh)):
                with pytest.raises(ox.CollectiveError, match="another thread"):
                    use()
            loop.network.met.wait(20)
            first.join(20)
            return found[0]
        loop.network.met.wait(20)
        return ox.all_reduce(x, mesh).tolist()

    assert job(2, program) == [[2.0] * 3] * 2


@pytest.mark.parametrize("wait", [True, False])
def test_a_rank_without_memory_stays_in_step(hosts: Hosts, monkeypatch: pytest.MonkeyPatch, wait: bool) -> None:
    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1))
        x = ox.ones(5000, device=mesh.local_devices[0])
        ox.all_reduce(x, mesh)
        if loop.process == 0:

            def none_left(*_: Any) -> Any:
                raise ox.OutOfMemoryError("no memory")

            with monkeypatch.context() as patch:
                patch.setattr(type(x.device), "alloc", none_left)
                with pytest.raises(ox.OutOfMemoryError):
                    ox.all_reduce(x, mesh, wait=wait)
        loop.network.met.wait(20)
        return float(ox.all_reduce(x, mesh)[0])

    assert job(2, program) == [2.0, 2.0]


def test_a_time_limit_set_later_holds_for_the_next_call(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1))
        x = ox.ones(3, device=mesh.local_devices[0])
        ox.all_reduce(x, mesh)
        mesh.timeout = 0.25
        if loop.process == 0:
            with pytest.raises(ox.CollectiveError, match=r"within 0\.25 s"):
                ox.all_reduce(x, mesh)
        loop.network.met.wait(20)

    assert job(2, program) == [None, None]


def test_what_the_root_of_a_broadcast_gets_is_a_value_of_its_own(hosts: Hosts) -> None:
    def program(loop: Loop) -> Any:
        mesh = meshes(loop, hosts, (1, 1))
        x = ox.full(3000, loop.process + 1, device=mesh.local_devices[0])
        y = ox.broadcast(x, mesh)
        y += 10
        return float(x[0]), float(y[2999])

    assert job(2, program) == [(1.0, 11.0), (2.0, 11.0)]
