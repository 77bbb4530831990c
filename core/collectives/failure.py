"""How a collective fails: the cause, the rank at fault, and what a failed mesh says on every later use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..errors import CollectiveError


class Cause(StrEnum):
    """Why a collective could not complete on every rank."""

    DIED = "died"
    LATE = "late"
    MISMATCH = "mismatch"
    LOST = "lost message"
    LEFT = "left"
    ABORTED = "aborted"


_SAYS: Final = {
    Cause.DIED: "rank {rank} died",
    Cause.LATE: "rank {rank} did not take part within the time limit",
    Cause.MISMATCH: "rank {rank} made another call than the others",
    Cause.LOST: "a message of rank {rank} was lost",
    Cause.LEFT: "rank {rank} has closed the mesh or ended",
    Cause.ABORTED: "aborted by rank {rank}",
}
_REMEDY: Final = {
    Cause.DIED: "look for its last words in the output of its process",
    Cause.LATE: "look what it is doing; where it is only slow, set a longer time limit",
    Cause.MISMATCH: "every rank makes the same calls, in the same order",
    Cause.LOST: "check the network between the ranks; where it is only slow, set a longer time limit",
    Cause.LEFT: "every rank makes the same number of calls; look for an error in the output of its process",
    Cause.ABORTED: "look for the error that it raised",
}


@dataclass(frozen=True, slots=True)
class MeshFailure:
    """What made a mesh unusable.

    Attributes:
        collective: the op that failed.
        sequence: the number of the call on the mesh, from 1.
        rank: the rank at fault.
        cause: why.
        reporter: the rank that saw it first, as far as is known here.
        detail: more about it; empty where it is known only from the reporter.
        ranks: all ranks at fault, where there are several.
        remedy: what to do; empty for what helps against this cause in general.
    """

    collective: str
    sequence: int
    rank: int
    cause: Cause
    reporter: int
    detail: str = ""
    ranks: tuple[int, ...] = ()
    remedy: str = ""

    def error(self) -> CollectiveError:
        """Return what the call that failed raises."""
        said = self.detail or f"{_SAYS[self.cause].format(rank=self.rank)}, as rank {self.reporter} has seen"
        what = f"{self.collective}, call {self.sequence} of the mesh"
        return self._error(f"{what}: {said}; {self.remedy or _REMEDY[self.cause]}")

    def again(self) -> CollectiveError:
        """Return what every later use of the mesh raises."""
        said = _SAYS[self.cause].format(rank=self.rank)
        return self._error(
            f"this mesh failed in call {self.sequence}, {self.collective}: {said}; it cannot be used any more; make a "
            "new Mesh of the devices that are left"
        )

    def _error(self, message: str) -> CollectiveError:
        return CollectiveError(
            message,
            rank=self.rank,
            ranks=self.ranks or (self.rank,),
            collective=self.collective,
            sequence=self.sequence,
            cause=str(self.cause) if self.cause is not Cause.ABORTED else f"aborted by rank {self.rank}",
            reporter=self.reporter,
            failure=self,
        )
