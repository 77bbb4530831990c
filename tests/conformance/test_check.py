"""OPMUX_CHECK=1: a wrong kernel is caught at the call that it spoils."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import opmux as ox
from opmux.conformance.check import check, install
from opmux.core.dispatch import observe
from opmux.core.errors import ConformanceError
from tests.conformance.zoo import TWINS, Zoo, kernel, registered, sign_of_zero

PLANTED = """
import opmux as ox
from opmux.core.plugins import manager
from tests.conformance.zoo import Zoo, kernel, sign_of_zero
manager.register("zoo", Zoo([kernel("multiply", sign_of_zero)]))
x = ox.asarray([-1.0, 2.0])
with ox.policy(backends={"zoo"}):
    print("value", ox.multiply(x, x).tolist())
    ox.multiply(x, ox.asarray([0.0, 0.0]))
print("survived")
"""


def _run(check: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OPMUX_CHECK": check, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", PLANTED], env=environment, capture_output=True, text=True, timeout=120)


def test_a_planted_fault_is_caught_in_a_process_that_checks() -> None:
    done = _run("1")
    assert done.returncode != 0
    assert "value [1.0, 4.0]" in done.stdout
    assert "ConformanceError: zoo/multiply" in done.stderr
    assert "wanted -0.0" in done.stderr


def test_without_the_switch_nothing_is_checked() -> None:
    assert "survived" in _run("0").stdout


@pytest.fixture
def checked() -> None:
    before = list(observe.OBSERVERS)
    install()
    install()
    assert observe.OBSERVERS.count(check) == 1
    yield
    observe.OBSERVERS[:] = before


@pytest.mark.usefixtures("checked")
def test_right_calls_pass_the_check() -> None:
    x = ox.asarray(np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32))
    y = ox.softmax(ox.matmul(x, x.T), axis=0)
    assert np.isfinite(ox.sum(y, axis=1).numpy()).all()


@pytest.mark.usefixtures("checked")
def test_of_a_large_result_the_end_is_checked_too() -> None:
    def last_is_wrong(spec: object, out: np.ndarray, x: np.ndarray) -> None:
        TWINS["negative"](spec, out, x)
        out[-1] = 7

    x = ox.asarray(np.ones(100_000, np.float32))
    with (
        registered("zoo-end", Zoo([kernel("negative", last_is_wrong)])),
        ox.policy(backends={"zoo-end"}),
        pytest.raises(ConformanceError) as caught,
    ):
        ox.negative(x)
    assert caught.value.kernel == "zoo-end/negative"


@pytest.mark.usefixtures("checked")
def test_a_result_over_its_operand_is_left_alone() -> None:
    x = ox.asarray(np.ones(5, np.float32), copy=True)
    with registered("zoo-over", Zoo([kernel("multiply", sign_of_zero)])), ox.policy(backends={"zoo-over"}):
        assert ox.multiply(x, 2.0, out=x).tolist() == [2.0] * 5
