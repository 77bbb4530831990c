"""A host of eight devices, for meshes of one process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import opmux as ox
from opmux.core.runtime import several_hosts


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[ox.Device, ...]]:
    ox.devices()  # backends are loaded once, for one host
    with several_hosts(8) as devices:
        yield devices
