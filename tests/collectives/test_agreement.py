"""Headers: what they hold, and whom their comparison names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opmux.core.collectives.agreement import SIZE, Header, compare, digest, unpack
from opmux.core.collectives.failure import Cause

CALL = Header(
    mesh=(1 << 63) + 5,
    sequence=12,
    collective="reduce_scatter",
    reduction="prod",
    root=3,
    attributes=digest("axis", 1),
    dtype="float8_e4m3fn",
    shapes=((4096, 3),),
    algorithm="recursive_halving",
    opmux="0.1.0",
    plugins=digest("numpy", "0.1.0"),
)


def said(*headers: Header | None):
    return compare([None if h is None else h.pack() for h in headers])


def test_packs_into_128_bytes():
    assert len(CALL.pack()) == SIZE == 128


def test_comes_back_as_it_was():
    told = unpack(CALL.pack())
    assert (told.mesh, told.sequence, told.root, told.shape) == (CALL.mesh, 12, 3, (4096, 3))
    assert str(told) == "reduce_scatter(float8_e4m3fn[4096, 3], reduction='prod', root=3)"


def test_long_names_and_many_dimensions_still_pack():
    long = replace(CALL, algorithm="x" * 99, opmux="1.2.3.dev456+local", shapes=((1,) * 300,) * 300)
    assert "float8_e4m3fn[1, 1, 1, ...] and 254 more shapes" in str(unpack(long.pack()))


def test_equal_ones_agree():
    assert said(CALL, CALL, CALL) is None
    assert said(CALL) is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"collective": "all_reduce"}, "called all_reduce"),
        ({"reduction": "sum"}, "reduction='sum'"),
        ({"root": 0}, "root=0"),
        ({"dtype": "int8"}, "int8[4096, 3]"),
        ({"shapes": ((4096, 4),)}, "float8_e4m3fn[4096, 4]"),
        ({"shapes": ((4096, 3), (1,))}, "and 1 more shapes"),
        ({"sequence": 11}, "every rank makes the same calls"),
        ({"attributes": b"else"}, "attributes of digest"),
        ({"algorithm": "ring"}, "as ring"),
        ({"opmux": "0.2.0"}, "rank 1 runs opmux 0.2.0"),
        ({"plugins": b"else"}, "OPMUX_BACKENDS"),
        ({"mesh": 7}, "same devices in the same order"),
    ],
)
def test_every_difference_is_named(change, word):
    failure = said(CALL, replace(CALL, **change), CALL)
    assert failure is not None
    assert (failure.rank, failure.cause, failure.sequence) == (1, Cause.MISMATCH, 12)
    assert word in str(failure.error())


def test_shapes_beyond_what_is_legible_still_differ():
    a, b = ((1, 1, 1, 5),), ((1, 1, 1, 6),)
    assert said(replace(CALL, shapes=a), replace(CALL, shapes=b)) is not None


def test_majority_is_right_and_all_others_are_named():
    other = replace(CALL, collective="barrier", dtype="", shapes=())
    failure = said(other, CALL, other, CALL, CALL)
    assert failure is not None
    assert failure.ranks == (0, 2)
    assert "ranks 0 and 2 called barrier" in str(failure.error())
    assert "ranks 1, 3 and 4 called reduce_scatter" in str(failure.error())


def test_in_a_tie_rank_0_is_right():
    failure = said(CALL, replace(CALL, dtype="int8"))
    assert failure is not None
    assert failure.rank == 1


def test_of_several_differences_the_installation_comes_first():
    failure = said(CALL, CALL, replace(CALL, dtype="int8", plugins=b"else"))
    assert "backends of digest" in str(failure.error())


def test_unknown_headers_are_left_out():
    assert said(None, CALL, None, CALL) is None
    assert said(None, CALL, replace(CALL, root=1), CALL).rank == 2
