"""What can go wrong in a benchmark, as typed exceptions that print as one line."""

from __future__ import annotations


class BenchmarkError(Exception):
    """The root of all errors of the benchmarks; on the command line one line and exit status 2."""


class UnknownNameError(BenchmarkError, ValueError):
    """A benchmark, peer or case that does not exist."""


class PeerUnavailableError(BenchmarkError, RuntimeError):
    """A peer that is not installed here; the run goes on without it, with a note."""


class DeviceMissingError(BenchmarkError, RuntimeError):
    """A benchmark of a device that this machine lacks."""


class UnsupportedCaseError(BenchmarkError, NotImplementedError):
    """A case that a peer does not offer; it is left out for that peer, with a note."""


class WorkerError(BenchmarkError, RuntimeError):
    """A worker that raised, died, or did not answer in time."""


class WrongResultError(BenchmarkError, AssertionError):
    """A result outside of its tolerance; nothing that was measured with it counts."""


class SchemaError(BenchmarkError, ValueError):
    """A report that does not have the documented form."""
