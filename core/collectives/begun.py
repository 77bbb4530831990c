"""Collectives under way on a mesh over processes: all of them move whenever one of them is asked for."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ..errors import CollectiveError
from .engine import rest
from .watch import Running

if TYPE_CHECKING:
    from .mesh import Mesh


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
        self._error: BaseException | None = None
        others.append(self)

    def advance(self, wait: bool) -> bool:
        """Do what can be done now, or everything, and return whether this collective has ended.

        Raises:
            CollectiveError: it failed, once every part has ended; or what else a part, or this process, raised.
        """
        try:
            self._advance(wait)
        except BaseException as error:  # an interrupt of this process: the other ranks hear of it at once
            self.abandon(error)
            raise
        if not self._parts and self._error is not None:
            raise self._error
        return not self._parts

    def _advance(self, wait: bool) -> None:
        idle = 0
        while self._parts:
            moved = False
            for begun in tuple(self._others):
                moved |= begun.round()
            if not wait:
                return
            idle = 0 if moved else idle + 1
            rest(idle)

    def abandon(self, error: BaseException) -> None:
        """End every part where it stands; each tells the other ranks, and whoever waits for it is told *error*."""
        self._error = error
        for part in self._parts:
            part.close()
        self._parts = []
        if self in self._others:
            self._others.remove(self)

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
            except BaseException as error:  # an interrupt has ended it, while this call or another one was waited for
                self.abandon(error)
                raise
        self._parts = still
        if not still:
            self._others.remove(self)
            if isinstance(self._error, CollectiveError):
                self._fail(self._error)
        return moved


#: Meshes over processes, whose calls nobody may have waited for when the process ends; none of them is a child's.
_meshes: Final[weakref.WeakSet[Mesh]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_meshes.clear)


def end_at_exit(mesh: Mesh) -> None:
    """Have the calls of a mesh ended before the process says goodbye to the other ranks.

    They wait for this one's part of a call until their time is over, if nobody moves it on.
    """
    _meshes.add(mesh)
    # Registered last of all, hence run first.
    atexit.unregister(_end_all)
    atexit.register(_end_all)


def _end_all() -> None:
    """Move the calls of all meshes on together: other processes may come to the meshes in other orders."""
    left, idle = {mesh for mesh in _meshes if mesh.begun}, 0
    while left:
        moved = False
        for mesh in tuple(left):
            with suppress(CollectiveError):  # a thread that nobody ends is in a call
                moved |= _round(mesh)
                if mesh.begun:
                    continue
            left.discard(mesh)
        idle = 0 if moved else idle + 1
        rest(idle)


def _round(mesh: Mesh) -> bool:
    """Give each call of a mesh one turn; a failure is told to the other ranks, and here nobody asks for the result."""
    turn = mesh.take_turn()
    try:
        return sum(begun.round() for begun in tuple(mesh.begun)) > 0
    finally:
        turn.release()
