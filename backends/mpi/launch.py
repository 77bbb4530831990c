"""Whether, and how, a launcher of MPI started this process; read from the environment, without MPI."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from ...plugin import CollectiveError, launched

INSTALL: Final = "pip install 'opmux[mpi]'"


def processes() -> int | None:
    """Return how many processes the launcher started; None where none did.

    >>> processes() is None or processes() >= 1
    True
    """
    return next((count for _, count in launched()), None)


def mpi() -> ModuleType:
    """Return the module ``mpi4py.MPI``, which joins the job when it is first imported.

    Raises:
        CollectiveError: mpi4py, or the MPI library that it loads, is missing.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py found no library
        raise CollectiveError(
            f"{processes() or 'no'} processes were started by an MPI launcher, but MPI cannot be used from Python: "
            f"{error}; {INSTALL} brings mpi4py and an MPI",
            cause="absent",
            install=INSTALL,
        ) from error
    if not MPI.Is_initialized():
        MPI.Init_thread(MPI.THREAD_MULTIPLE)
    return MPI
