"""Every primitive op on every dtype that it is declared for: none is refused, and none goes to another device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opmux.conformance.cases.enumerate import dtypes_of
from opmux.conformance.cases.samples.sample import samples
from opmux.conformance.target import RefusedError, Target, only, targets
from opmux.core.op import OPS, Op
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.resources.calls import Recorder

#: Samples of each op and dtype: those of a cast are its targets.
MOST = 3
PRIMITIVES = sorted(op.name for op in OPS if op.primitive)


@pytest.fixture(scope="module")
def deciding() -> Iterator[Target]:
    """A GPU that compiles and carries out nothing: a decision is all that is asked for."""
    with registered(OnHost(Recorder())):
        yield targets("cuda")[0]


def refused(target: Target, op: Op) -> Iterator[str]:
    for t in dtypes_of(op):
        tried = samples(op, t, quick=True)
        for sample in tried if op.name == "cast" else tried[:MOST]:
            try:
                with only("cuda"):
                    target.decide(op, target.upload(sample.operands), sample.attributes)
            except RefusedError as error:
                yield f"{op.name} {t} {sample.label}: {error}"


@pytest.mark.parametrize("op", PRIMITIVES)
def test_no_dtype_is_refused(deciding: Target, op: str) -> None:
    assert "\n".join(refused(deciding, OPS[op])) == ""
