"""A backend of the tests: kernels that are wrong on purpose, so that a result says who made it."""

from __future__ import annotations

from opmux.plugin import Kernel, Prepared, hookimpl


def filler(value: float) -> Prepared:
    """Return a prepared kernel that is wrong on purpose, so that a result says who made it."""
    return Prepared(lambda outs, ins, workspace, queue: outs[0].host.fill(value))


class Planted:
    """A backend with kernels of add that each give a number of their own."""

    def __init__(self, *kernels: Kernel) -> None:
        self._kernels = kernels

    @hookimpl
    def opmux_kernels(self) -> tuple[Kernel, ...]:
        return self._kernels
