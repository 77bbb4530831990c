"""Downloads of strided arrays from devices whose copy kernel does not take their dtype."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import opmux as ox
from opmux.conformance.planted.twin.accelerator import Accelerator
from opmux.core.plugins import manager
from opmux.plugin import Accepts, CallSpec, Kernel, Reason, Rejection, hookimpl


class Narrow:
    """A device that copies int8 alone."""

    @hookimpl
    def opmux_devices(self) -> list[Accelerator]:
        return [Accelerator(kind="narrow")]

    @hookimpl
    def opmux_kernels(self) -> list[Kernel]:
        def prepare(spec: CallSpec) -> Rejection:
            return Rejection(Reason.DECLINED, "never asked here")

        return [Kernel("copy", "copy", "narrow", prepare, Accepts(dtypes=(frozenset({"int8"}),)))]


@pytest.fixture
def narrow() -> Iterator[None]:
    ox.devices()
    manager.register("narrow", Narrow())
    try:
        yield
    finally:
        manager.unregister("narrow")


def test_a_column_far_apart_is_read_with_its_gaps(narrow: None) -> None:
    x = ox.reshape(ox.arange(130, dtype="float32"), (10, 13)).to_device("narrow")
    with ox.policy(fallback="forbid"):
        assert x[:, 5].tolist() == [5.0 + 13 * i for i in range(10)]
