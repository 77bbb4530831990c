"""The suite on a device that the host cannot address and whose errors come late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opmux.conformance.running.run import run
from opmux.conformance.running.selection import Selection
from tests.conformance.zoo import registered
from tests.remote import RemotePlugin


@pytest.fixture(scope="module")
def remote() -> Iterator[str]:
    with registered("remote", RemotePlugin()) as name:
        yield name


@pytest.mark.parametrize("op", ["add", "negative", "copy"])
def test_right_kernels_pass_whole(remote: str, op: str) -> None:
    found = run(Selection((remote,), ops=(op,), dtypes=("float32", "int32", "float16"), isolate=False))
    assert [c.message for c in found.failures] == []
    assert {c.device for c in found.cases} == {"remote:0"}
    assert found.counts["pass"] > 30


def test_a_late_error_fails_the_case_that_caused_it(remote: str) -> None:
    case = "sqrt-float32-special-sqrt(-1) -> nan"
    found = run(Selection((remote,), ops=("sqrt",), cases=(case,), isolate=False))
    assert [c.outcome.value for c in found.cases] == ["fail"]
    assert "the square root unit met a negative number" in found.cases[0].message
