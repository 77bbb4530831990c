"""Meshes and their groups, messages between two ranks, and calls that are not allowed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import opmux as ox
from opmux.core.errors import OpmuxError

Hosts = tuple[ox.Device, ...]


def test_ranks_are_the_devices_in_order(hosts: Hosts) -> None:
    mesh = ox.Mesh(["cpu:2", "cpu:0"])
    assert (mesh.size, mesh.local_ranks, mesh.is_local) == (2, (0, 1), True)
    assert mesh.local_devices == (hosts[2], hosts[0])
    assert repr(mesh) == "<mesh of 2 ranks on cpu in 1 process>"


def test_groups_are_meshes_of_their_own(hosts: Hosts) -> None:
    mesh = ox.Mesh(hosts[:6])
    rows, columns = mesh.split((2, 3), 1), mesh.split((2, 3), 0)
    assert [m.local_devices for m in rows] == [hosts[:3], hosts[3:6]]
    assert [m.local_devices for m in columns] == [(hosts[i], hosts[i + 3]) for i in range(3)]
    numbers = {m.number for m in (mesh, *rows, *columns, mesh.group([0, 1]), mesh.group([0, 1]))}
    assert len(numbers) == 8  # their messages are kept apart


def test_what_one_rank_sends_another_receives_in_order(hosts: Hosts) -> None:
    mesh = ox.Mesh(hosts[:3])
    for v in (1.0, 2.0):
        ox.send(ox.asarray([v], device=hosts[0]), mesh, target=2)
    found = [ox.recv(mesh, source=0, rank=2, shape=1, dtype="float32") for _ in range(2)]
    assert [(y.tolist(), y.device) for y in found] == [([1.0], hosts[2]), ([2.0], hosts[2])]


def test_a_barrier_of_one_process_returns(hosts: Hosts) -> None:
    assert ox.barrier(ox.Mesh(hosts[:2])) is None
    handle = ox.barrier(ox.Mesh(hosts[:2]), wait=False)
    assert handle is not None
    assert handle.done()


def ones(hosts: Hosts, *shapes: tuple[int, ...]) -> list[ox.Array]:
    return [ox.ones(s, device=d) for s, d in zip(shapes, hosts, strict=False)]


# fmt: off
BAD: list[tuple[str, Callable[[Hosts], object], type[Exception], str]] = [
    ("device twice", lambda h: ox.Mesh([h[0], h[1], h[0]]),
     ox.DeviceError, "cpu:0 is given twice, as rank 0 and rank 2"),
    ("device absent", lambda h: ox.Mesh(["cpu:99"]), ox.DeviceError, "(OPMUX_CPU_DEVICES=N makes"),
    ("no device", lambda h: ox.Mesh([]), ox.ArgumentError, "no devices"),
    ("a name", lambda h: ox.Mesh("cpu"), ox.ArgumentTypeError, "not a list of devices"),
    ("timeout", lambda h: ox.Mesh(h[:1], timeout=0), ox.ArgumentError, "timeout=0 is not a positive number"),
    ("communicator", lambda h: ox.Mesh(communicator="pigeon"), ox.CollectiveError, "no communicator 'pigeon'"),
    ("group of none", lambda h: ox.Mesh(h[:2]).group([]), ox.ArgumentError, "each rank of it once"),
    ("group twice", lambda h: ox.Mesh(h[:2]).group([1, 1]), ox.ArgumentError, "each rank of it once"),
    ("group of strangers", lambda h: ox.Mesh(h[:2]).group([2]), ox.ArgumentError, "2 is no rank of <mesh of 2"),
    ("grid", lambda h: ox.Mesh(h[:4]).split((3,), 0), ox.ArgumentError, "4 ranks as a grid of (3,)"),
    ("no mesh", lambda h: ox.all_reduce(ones(h, (1,)), None), ox.ArgumentTypeError, "no mesh"),
    ("no arrays", lambda h: ox.all_reduce(3, ox.Mesh(h[:1])), ox.ArgumentTypeError, "no list of arrays"),
    ("too few", lambda h: ox.all_reduce(ones(h, (1,)), ox.Mesh(h[:2])),
     ox.ArgumentError, "1 arrays for the 2 local ranks"),
    ("elsewhere", lambda h: ox.all_reduce(ones(h[1:], (1,)), ox.Mesh(h[:1])), ox.DeviceError, "rank 0"),
    ("shapes", lambda h: ox.all_reduce(ones(h, (1,), (2,)), ox.Mesh(h[:2])), ox.ShapeError, "rank 1 brings shape (2,)"),
    (
        "dtypes",
        lambda h: ox.all_reduce([ox.ones(1, device=h[0]), ox.ones(1, dtype="int8", device=h[1])], ox.Mesh(h[:2])),
        ox.DTypeError,
        "rank 1 brings int8, rank 0 float32",
    ),
    ("reduction", lambda h: ox.all_reduce(ones(h, (1,)), ox.Mesh(h[:1]), reduction="mean"),
     ox.ArgumentError, "sum, prod"),
    ("and of floats", lambda h: ox.all_reduce(ones(h, (1,)), ox.Mesh(h[:1]), reduction="and"),
     ox.DTypeError, "integers"),
    ("axis", lambda h: ox.all_gather(ones(h, (1,)), ox.Mesh(h[:1]), axis=1), ox.AxisError, "axis 1"),
    ("0-d", lambda h: ox.all_gather(ones(h, ()), ox.Mesh(h[:1])), ox.AxisError, "axis 0"),
    ("sizes", lambda h: ox.reduce_scatter(ones(h, (3,)), ox.Mesh(h[:1]), sizes=[2]), ox.ShapeError, "make 2"),
    ("root", lambda h: ox.broadcast(ones(h, (1,)), ox.Mesh(h[:1]), root=1), ox.ArgumentError, "root=1 is no rank"),
    ("pairs", lambda h: ox.permute(ones(h, (1,)), ox.Mesh(h[:1]), pairs=[0]), ox.ArgumentTypeError, "(source, target)"),
    (
        "target twice",
        lambda h: ox.permute(ones(h, (1,), (1,)), ox.Mesh(h[:2]), pairs=[(0, 1), (1, 1)]),
        ox.ArgumentError,
        "rank 1 is the target of two pairs",
    ),
    ("keyword", lambda h: ox.all_reduce(ones(h, (1,)), ox.Mesh(h[:1]), op="sum"), ox.ArgumentTypeError, "no op="),
    ("unnamed", lambda h: ox.all_reduce(ones(h, (1,)), ox.Mesh(h[:1]), "max"), ox.ArgumentTypeError, "given by name"),
    ("mesh left out", lambda h: ox.all_reduce(ones(h, (1,))), ox.ArgumentTypeError, "mesh is missing"),
    ("mean", lambda h: ox.all_reduce(ones(h, (1,)), ox.Mesh(h[:1]), reduction="mean"),
     ox.ArgumentError, "divide the sum by mesh.size"),
    ("handle", lambda h: ox.all_reduce(ones(h, (1,)), ox.Mesh(h[:1]), wait=False)[0],
     ox.ArgumentTypeError, "handle.wait()"),
    ("other sizes", lambda h: ox.all_gather(ones(h, (2,)), ox.Mesh(h[:1]), sizes=[3]),
     ox.ShapeError, "rank 0 brings 3"),
    ("no pairs", lambda h: ox.permute(ones(h, (1,)), ox.Mesh(h[:1])), ox.ArgumentTypeError, "pairs"),
    ("nothing sent", lambda h: ox.recv(ox.Mesh(h[:2]), source=0, rank=1, shape=1, dtype="int8"),
     ox.ArgumentError, "nothing"),
    ("to itself", lambda h: ox.send(ox.ones(1), ox.Mesh(h[:2]), target=0), ox.ArgumentError, "the calling rank itself"),
]
# fmt: on


@pytest.mark.parametrize(("call", "kind", "says"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_mistakes_are_told(hosts: Hosts, call: Callable[[Hosts], object], kind: type[OpmuxError], says: str) -> None:
    with pytest.raises(kind) as caught:
        call(hosts)
    assert says in str(caught.value)


def test_a_launched_process_without_messages_is_no_mesh_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opmux.core.dispatch.registry.REGISTRY.communicators", tuple)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(ox.CollectiveError, match="has started 4 processes"):
        ox.Mesh()
    assert ox.Mesh(["cpu:0"], communicator="none").size == 1
