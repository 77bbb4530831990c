"""Failures: what they say, what a failed mesh says, and how a chain of waiting ranks is followed to its end."""

from __future__ import annotations

import pickle
import random

import pytest

from opmux.core.collectives.control import Control, Status, stuck
from opmux.core.collectives.failure import Cause, MeshFailure
from opmux.core.errors import CollectiveError
from tests.collectives.network import Network, SimulatedEndpoint


@pytest.mark.parametrize("cause", Cause)
def test_error_names_rank_call_and_remedy(cause):
    error = MeshFailure("all_reduce", 7, 2, cause, 0).error()
    assert isinstance(error, CollectiveError)
    assert (error.rank, error.ranks, error.collective, error.sequence) == (2, (2,), "all_reduce", 7)
    assert "rank 2" in str(error) or "of rank 2" in str(error)
    assert "call 7 of the mesh" in str(error)
    assert "; " in str(error)
    assert error.cause == ("aborted by rank 2" if cause is Cause.ABORTED else cause.value)


def test_later_use_says_that_the_mesh_is_unusable():
    error = MeshFailure("all_gather", 3, 1, Cause.DIED, 0, "its process ended").again()
    assert "cannot be used any more; make a new Mesh" in str(error)
    assert error.rank == 1


def test_error_survives_a_pickle():
    error = pickle.loads(pickle.dumps(MeshFailure("barrier", 1, 0, Cause.LATE, 1).error()))
    assert (error.rank, error.cause) == (0, "late")


def controls(ranks: int) -> tuple[Network, list[Control]]:
    network = Network(ranks, random.Random(0))
    return network, [Control(SimulatedEndpoint(network, r)) for r in range(ranks)]


def settle(network: Network, made: list[Control]) -> None:
    for _ in range(4):
        network.clock += 1.0
        network.deliver()
        for control in made:
            control.poll()


def test_failure_reaches_every_rank_once():
    network, made = controls(3)
    made[2].fail(MeshFailure("broadcast", 4, 1, Cause.LATE, 2, "much detail"))
    settle(network, made)
    for control in made:
        assert (control.failure.rank, control.failure.cause, control.failure.reporter) == (1, Cause.LATE, 2)
        with pytest.raises(CollectiveError, match="failed in call 4, broadcast"):
            control.check()


def test_first_failure_stays():
    network, made = controls(2)
    made[0].fail(MeshFailure("broadcast", 4, 1, Cause.LATE, 0))
    settle(network, made)
    assert made[1].fail(MeshFailure("all_reduce", 5, 0, Cause.DIED, 1)).sequence == 4


def test_goodbye_says_after_how_many_calls():
    network, made = controls(2)
    made[1].enter(1, Waiting(Status(1, 0, 0, (0, 0))))
    made[1].leave(1)
    made[1].close()
    made[1].close()
    settle(network, made[:1])
    assert made[0].left == {1: 1}


class Waiting:
    def __init__(self, status: Status) -> None:
        self._status = status

    def status(self) -> Status:
        return self._status


def asked(*statuses: Status | None, own: int = 0, left: tuple[int, ...] = (), lost: tuple[int, ...] = ()):
    """Return whom rank *own* blames, after it has asked the others; None says nothing."""
    network, made = controls(len(statuses))
    for control, status in zip(made, statuses, strict=True):
        if status is not None:
            control.enter(status.sequence, Waiting(status))
    for rank in left:
        made[rank].close()
    made[own].ask()
    settle(network, [c for r, c in enumerate(made) if statuses[r] is not None])
    return stuck(made[own], statuses[own], 0.0, dict.fromkeys(lost, "gone"))


def test_silent_rank_at_the_end_of_a_chain_is_late():
    sent = (1, 1, 1, 1)
    assert asked(Status(1, 1, 1, sent), Status(1, 2, 1, sent), Status(1, 3, 1, sent), None) == (3, Cause.LATE)


def test_dead_rank_at_the_end_of_a_chain():
    sent = (1, 1, 1)
    assert asked(Status(1, 1, 1, sent), Status(1, 2, 1, sent), None, lost=(2,)) == (2, Cause.DIED)


def test_message_that_was_sent_and_did_not_come_is_lost_wherever_in_the_chain():
    chain = [Status(1, 1, 1, (1, 1, 1)), Status(1, 2, 3, (1, 1, 1)), Status(1, 0, 2, (1, 4, 1))]
    assert asked(*chain) == (2, Cause.LOST)


def test_rank_that_is_in_a_later_call_has_sent_everything():
    assert asked(Status(1, 1, 1, (1, 1)), Status(2, 0, 0, (1, 1))) == (1, Cause.LOST)


def test_rank_that_is_behind_leads_on_to_what_it_waits_for():
    behind = Status(1, 2, 1, (1, 1, 1))
    assert asked(Status(2, 1, 0, (1, 1, 1)), behind, None) == (2, Cause.LATE)


def test_rank_that_left_before_the_call():
    assert asked(Status(1, 1, 0, (1, 1)), None, left=(1,)) == (1, Cause.LEFT)


def test_rank_that_ended_the_call_while_an_older_one_is_under_way_has_sent_everything():
    network, made = controls(3)
    for sequence, status in ((1, Status(1, 2, 1, (1, 1, 1))), (2, Status(2, 0, 1, (1, 1, 1)))):
        made[1].enter(sequence, Waiting(status))
    made[1].leave(2)
    mine = Status(2, 1, 1, (1, 1, 1))
    made[0].enter(2, Waiting(mine))
    made[0].ask()
    settle(network, made[:2])
    assert stuck(made[0], mine, 0.0, {}) == (1, Cause.LOST)


def test_of_overlapping_calls_the_one_in_question_is_followed():
    network, made = controls(3)
    for sequence, waits_for in ((1, 2), (2, 0)):
        made[1].enter(sequence, Waiting(Status(sequence, waits_for, 1, (1, 1, 1))))
    mine = Status(1, 1, 1, (1, 1, 1))
    made[0].enter(1, Waiting(mine))
    made[0].ask()
    settle(network, made[:2])
    assert stuck(made[0], mine, 0.0, {}) == (2, Cause.LATE)
