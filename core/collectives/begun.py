"""Collectives under way on a mesh over processes: all of them move whenever one of them is asked for."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import CollectiveError
from .engine import Running, rest


class Begun:
    """One collective under way: the parts of this process's ranks.

    Args:
        parts: what :func:`~opmux.core.collectives.engine.run_rank` returned, by rank.
        others: what is under way on the mesh, this one included.
        fail: told of the failure.
    """

    def __init__(self, parts: list[Running], others: list[Begun], fail: Callable[[CollectiveError], None]) -> None:
        self._parts = parts
        self._others = others
        self._fail = fail
        self._error: Exception | None = None
        others.append(self)

    def advance(self, wait: bool) -> bool:
        """Do what can be done now, or everything, and return whether this collective has ended.

        Raises:
            CollectiveError: it failed, once every part has ended.
        """
        idle = 0
        while self._parts:
            moved = False
            for begun in tuple(self._others):
                moved |= begun.round()
            if not wait:
                break
            idle = 0 if moved else idle + 1
            rest(idle)
        if not self._parts and self._error is not None:
            raise self._error
        return not self._parts

    def round(self) -> bool:
        """Give each part one turn; return whether anything moved."""
        moved, still = False, []
        for part in self._parts:
            try:
                moved |= next(part)
                still.append(part)
            except StopIteration:
                moved = True
            except Exception as error:  # also what is no failure of another rank: no memory to combine in
                moved, self._error = True, self._error or error
        self._parts = still
        if not still:
            self._others.remove(self)
            if isinstance(self._error, CollectiveError):
                self._fail(self._error)
        return moved
