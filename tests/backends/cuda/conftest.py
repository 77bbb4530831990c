"""A pretended GPU, on which the kernels are carried out on the host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opmux.conformance.target import Target, targets
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime


@pytest.fixture(params=[False, True], ids=["ascending", "descending"])
def gpu(request: pytest.FixtureRequest) -> Iterator[HostRuntime]:
    """A GPU whose threads take their turns in one order, and in the other."""
    runtime = HostRuntime(reversed_turns=request.param)
    with registered(OnHost(runtime)):
        yield runtime


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """The backend as the conformance suite sees it."""
    with registered(OnHost()):
        yield targets("cuda")[0]
