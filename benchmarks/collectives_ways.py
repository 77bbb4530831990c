"""The ways in which a process takes part in collectives: opmux, mpi4py, gloo, and plain copies as the limit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np

from .collectives_cases import Case, Values
from .errors import WorkerError

#: Bytes of the header that opmux's ranks tell each other in every call.
_HEADER: Final = 128


class Program(Protocol):
    """A case made ready in one process.

    Attributes:
        call: the collective, on the operands of this process's ranks.
        detail: what runs, where that is known.
    """

    call: Callable[[], Any]
    detail: str

    def results(self) -> dict[int, Values]:
        """Return what the last call gave, by rank."""


class Way(Protocol):
    """A library, and how it carries a collective.

    Attributes:
        rank: this process's number.
    """

    rank: int

    def versions(self) -> dict[str, str]:
        """Return the versions of what it stands on."""

    def barrier(self) -> None:
        """Wait until every process is here."""

    def prepare(self, case: Case, variant: str) -> Program:
        """Return a case made ready; variants are those of :data:`.collectives_job.CONTESTANTS`."""


class _Opmux:
    """opmux: over the devices of this process, or over MPI."""

    def __init__(self, ranks: int, over_mpi: bool) -> None:
        import opmux

        self._ox, self._over_mpi = opmux, over_mpi
        self.rank = 0
        self._world: Any = None
        self._meshes: dict[int, Any] = {}
        if over_mpi:
            from mpi4py import MPI

            self._meshes[ranks] = opmux.Mesh()
            self._world = MPI.COMM_WORLD
            self.rank = self._world.Get_rank()

    def versions(self) -> dict[str, str]:
        from importlib.metadata import version

        return {"opmux": version("opmux"), **(_mpi_versions() if self._over_mpi else {})}

    def barrier(self) -> None:
        if self._world is not None:
            self._world.Barrier()

    def prepare(self, case: Case, variant: str) -> Program:
        mesh = self._meshes.get(case.ranks)
        if mesh is None:
            mesh = self._meshes[case.ranks] = self._ox.Mesh([f"cpu:{r}" for r in range(case.ranks)])
        if mesh.size != case.ranks:
            raise WorkerError(f"the mesh has {mesh.size} ranks, not {case.ranks}; the launcher was not recognised")
        return OpmuxProgram(self._ox, mesh, case, variant)


class OpmuxProgram:
    """Results are fresh, or with ``out=`` in memory that is made once; then a broadcast works in place, as MPI's."""

    def __init__(self, ox: Any, mesh: Any, case: Case, variant: str) -> None:
        self._local = mesh.local_ranks
        function = getattr(ox, case.collective)
        operands = [
            ox.asarray(case.brought(r), device=d) for r, d in zip(mesh.local_ranks, mesh.local_devices, strict=True)
        ]
        self.policy: Callable[[], Any] = contextlib.nullcontext
        if variant == "canonical":
            self.policy = lambda: ox.policy(determinism="canonical")
        self._last: Any = None
        self.call = lambda: function(operands, mesh)
        with self.policy(), ox.count_calls() as seen:
            self._last = self.call()
        chosen = [c.decision.chosen for c in seen.most_expensive()]
        self.detail = ", ".join(c.name for c in chosen)
        if variant == "out":
            if case.collective == "broadcast":
                self._last = [ox.copy(x) for x in operands]
            self._into(function, operands, mesh, case.collective == "broadcast")

    def _into(self, function: Callable[..., Any], operands: list[Any], mesh: Any, in_place: bool) -> None:
        self.detail += ", in place" if in_place else ", out="

        def call() -> Any:
            last = self._last
            self._last = made = function(last if in_place else operands, mesh, out=last)
            return made

        self.call = call

    def keep(self, made: Any) -> None:
        self._last = made

    def results(self) -> dict[int, Values]:
        return {r: y.numpy() for r, y in zip(self._local, self._last, strict=True)}


class _Mpi4py:
    """MPI through mpi4py's buffer interface, into memory that is made once."""

    def __init__(self, ranks: int) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self._world = MPI.COMM_WORLD
        self.rank = self._world.Get_rank()

    def versions(self) -> dict[str, str]:
        return _mpi_versions()

    def barrier(self) -> None:
        self._world.Barrier()

    def prepare(self, case: Case, variant: str) -> Program:
        if variant == "agreement":
            return _Headers(self._mpi, case)
        return _Mpi4pyProgram(self._mpi, case)


class _Mpi4pyProgram:
    def __init__(self, mpi: Any, case: Case) -> None:
        world = mpi.COMM_WORLD
        self.rank = rank = world.Get_rank()
        x, y = case.brought(rank), np.empty(case.gets(), np.float32)
        self._result, self.detail = y, mpi.Get_library_version().partition(",")[0]
        if case.collective == "broadcast" and rank == 0:
            y[...] = x
        self.call: Callable[[], Any] = {
            "all_reduce": lambda: world.Allreduce(x, y),
            "reduce_scatter": lambda: world.Reduce_scatter_block(x, y),
            "all_gather": lambda: world.Allgather(x, y),
            "broadcast": lambda: world.Bcast(y),
        }[case.collective]

    def results(self) -> dict[int, Values]:
        return {self.rank: self._result}


class _Headers:
    """What the ranks of opmux tell each other in a call, alone: each one's header goes to every other rank.

    In opmux it travels in a message of a kilobyte more, with the first data; that part is not taken off.
    """

    def __init__(self, mpi: Any, case: Case) -> None:
        world = mpi.COMM_WORLD
        self.rank = rank = world.Get_rank()
        own = np.zeros(_HEADER, np.uint8)
        others = [(rank + step) % case.ranks for step in range(1, case.ranks)]
        rooms = [np.empty(_HEADER, np.uint8) for _ in others]
        self.detail = f"{_HEADER} bytes to every other rank"

        def call() -> None:
            requests = [world.Irecv(room, peer) for room, peer in zip(rooms, others, strict=True)]
            requests += [world.Isend(own, peer) for peer in others]
            mpi.Request.Waitall(requests)

        self.call = call

    def results(self) -> dict[int, Values]:
        return {}


def _mpi_versions() -> dict[str, str]:
    import mpi4py
    from mpi4py import MPI

    return {"mpi4py": mpi4py.__version__, "mpi": MPI.Get_library_version().partition(",")[0].strip()}


class _Gloo:
    """torch.distributed over gloo."""

    def __init__(self, ranks: int, rank: int, file: str) -> None:
        import torch
        import torch.distributed as dist

        self._torch, self._dist, self.rank = torch, dist, rank
        dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=ranks)

    def versions(self) -> dict[str, str]:
        return {"torch": str(self._torch.__version__)}

    def barrier(self) -> None:
        self._dist.barrier()

    def prepare(self, case: Case, variant: str) -> Program:
        return _GlooProgram(self._torch, self._dist, case, self.rank)


class _GlooProgram:
    """all_reduce and broadcast work in place, as torch offers them: sums grow from call to call, the work does not."""

    def __init__(self, torch: Any, dist: Any, case: Case, rank: int) -> None:
        self._rank = rank
        self._brought = torch.from_numpy(case.brought(rank))
        self._x = self._brought.clone()
        self._y = torch.empty(case.gets())
        self._in_place = case.collective in ("all_reduce", "broadcast")
        x, y = self._x, self._y
        self.detail = "in place" if self._in_place else ""
        self.call: Callable[[], Any] = {
            "all_reduce": lambda: dist.all_reduce(x),
            "reduce_scatter": lambda: dist.reduce_scatter_tensor(y, x),
            "all_gather": lambda: dist.all_gather_into_tensor(y, x),
            "broadcast": lambda: dist.broadcast(x, 0),
        }[case.collective]

    def results(self) -> dict[int, Values]:
        self._x.copy_(self._brought)
        self.call()
        return {self._rank: (self._x if self._in_place else self._y).numpy()}


class _Copy:
    """The limit: as many bytes copied by all cores as the call has to read and write in memory."""

    rank = 0

    def __init__(self, ranks: int) -> None:
        pass

    def versions(self) -> dict[str, str]:
        return {}

    def barrier(self) -> None:
        pass

    def prepare(self, case: Case, variant: str) -> Program:
        return CopyProgram(case)


class CopyProgram:
    def __init__(self, case: Case) -> None:
        from opmux.core.devices.host import usable_cpus

        from .probes import TrafficProbe

        probe = TrafficProbe("copy", case.traffic, usable_cpus())
        self.scale = case.traffic / probe.work
        self.detail = f"{usable_cpus()} threads, {probe.stores} stores"
        self.seconds = probe.seconds
        self.call = lambda: probe.seconds(1)

    def results(self) -> dict[int, Values]:
        return {}


def way_of(name: str, ranks: int, more: Sequence[str]) -> Way:
    """Return a way by name."""
    if name == "gloo":
        return _Gloo(ranks, int(more[0]), more[1])
    made: dict[str, Callable[[], Way]] = {
        "opmux": lambda: _Opmux(ranks, over_mpi=False),
        "opmux-mpi": lambda: _Opmux(ranks, over_mpi=True),
        "mpi4py": lambda: _Mpi4py(ranks),
        "copy": lambda: _Copy(ranks),
    }
    return made[name]()
