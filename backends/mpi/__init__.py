"""MPI as a backend: messages between the processes that ``mpiexec`` started, through mpi4py.

It brings no device and no kernel, only a communicator; and it touches MPI only in a process that a launcher started,
once a mesh over processes is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...plugin import Communicator, hookimpl


@hookimpl
def opmux_communicators() -> Iterable[Communicator]:
    """Return this process's way to the others; none where no launcher of MPI started it."""
    from . import launch

    if launch.processes() is None:
        return ()
    from .communicator import connect

    return (connect(),)
