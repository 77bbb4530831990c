"""The trials on a real GPU; without one each is skipped for the reason that ``opmux doctor`` gives."""

from __future__ import annotations

import pytest

from opmux.benchmarks.devices import check_device
from opmux.benchmarks.errors import DeviceMissingError
from tests.backends.cuda.hardware.catalogue import TRIALS
from tests.backends.cuda.hardware.running import command, seen


@pytest.fixture(scope="module")
def _a_gpu() -> None:
    try:
        check_device("cuda")
    except DeviceMissingError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("_a_gpu")
@pytest.mark.parametrize("name", TRIALS)
def test_trial(name: str) -> None:
    found = seen(TRIALS[name], command(name))
    if found.outcome == "skip":
        pytest.skip(found.said)
    assert found.outcome == "pass", found.said
