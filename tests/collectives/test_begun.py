"""Calls under way together: an interrupt of one is no result of it."""

from __future__ import annotations

import pytest

from opmux.core.collectives.begun import Begun
from opmux.core.collectives.watch import Running


def _waiting() -> Running:
    while True:
        yield False


def _interrupted() -> Running:
    yield False
    raise KeyboardInterrupt


def test_a_call_that_is_interrupted_while_another_one_is_waited_for_has_no_result() -> None:
    under_way: list[Begun] = []
    waited, other = (Begun([part], under_way, lambda error: None) for part in (_waiting(), _interrupted()))
    for begun in (waited, other):
        begun.round()
    for begun in (waited, other):
        with pytest.raises(KeyboardInterrupt):
            begun.advance(True)
    assert not under_way


def test_an_interrupted_call_ends_the_parts_of_all_its_ranks() -> None:
    beside = _waiting()
    begun = Begun([_interrupted(), beside], [], lambda error: None)
    begun.round()
    with pytest.raises(KeyboardInterrupt):
        begun.round()
    assert next(beside, None) is None
