"""Handles: collectives that were begun and are waited for later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import ArgumentTypeError


class Handle:
    """A collective that was begun.

    A rank in another process makes progress in :meth:`wait`, in :meth:`done`, and in every other call on the same mesh.

    Args:
        advance: does what can be done now and returns whether the collective has ended; raises its failure.
        result: makes the results once it has.
    """

    def __init__(self, advance: Callable[[bool], bool], result: Callable[[], Any]) -> None:
        self._advance = advance
        self._result = result
        self._made: Any = None
        self._ended = False

    @classmethod
    def done_with(cls, result: Any) -> Handle:
        """Return the handle of a collective that has ended."""
        return cls(lambda wait: True, lambda: result)

    def then(self, change: Callable[[Any], Any]) -> Handle:
        """Return a handle of the same collective whose result is changed by a function."""
        return Handle(self._advance, lambda: change(self._result()))

    def done(self) -> bool:
        """Return whether the results are there; never waits.

        Raises:
            CollectiveError: the collective failed.
        """
        return self._settle(False)

    def wait(self) -> Any:
        """Return the results, one array per local rank.

        Raises:
            CollectiveError: the collective failed.
        """
        self._settle(True)
        return self._made

    def _settle(self, wait: bool) -> bool:
        if not self._ended and self._advance(wait):
            self._made = self._result()
            self._ended = True
        return self._ended

    def __repr__(self) -> str:
        return f"<Handle of a collective: {'ended' if self._ended else 'begun'}; .wait() gives its results>"

    def __getitem__(self, index: object) -> NoReturn:
        raise ArgumentTypeError("a Handle holds no results before they are waited for; use handle.wait()[...]")
