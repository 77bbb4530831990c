"""The search for an example that fails: random choices, the smallest ones that fail, the same ones on every run.

Hypothesis draws, mutates and shrinks one tape of bytes, from which an example is read choice by choice. A tape costs a
quarter of what single draws cost, and no constant of a module that happens to be loaded gets into it, so the same seed
gives the same examples everywhere.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Generic, TypeVar

from ....core.errors import ConformanceError, DeviceLostError
from ....core.filecache import cache_root

T = TypeVar("T")

#: Bytes of a tape, where nothing else is said.
TAPE: Final = 64
#: Seconds for which a failing example is made smaller; beyond, the smallest so far is reported. A backend may fail in a
#: thousand cases.
SHRINKING: Final = 2.0


class Choices:
    """Choices read from a tape; past its end each is its first option. A smaller tape is a simpler example.

    >>> Choices(bytes([0, 255])).pick("abc"), Choices(bytes([255])).between(1, 5), Choices(b"").flag()
    ('a', 5, False)
    """

    def __init__(self, tape: bytes) -> None:
        self._tape, self._at = tape, 0

    def byte(self) -> int:
        """Return the next byte."""
        self._at += 1
        return self._tape[self._at - 1] if self._at <= len(self._tape) else 0

    def part(self, count: int) -> Choices:
        """Return the choices of the next bytes, so many of them, used or not."""
        self._at += count
        return Choices(self._tape[self._at - count : self._at])

    def rest(self, count: int) -> bytes:
        """Return the next bytes as they are."""
        return self.part(count)._tape

    def below(self, count: int) -> int:
        """Return a number from 0 on; at most 256 are told apart."""
        return self.byte() * count >> 8

    def between(self, low: int, high: int) -> int:
        """Return a number of a range, both ends included."""
        return low + self.below(high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        """Return one of some options, of which the first is the simplest."""
        return options[self.below(len(options))]

    def flag(self, one_in: int = 2) -> bool:
        """Return True once in so many times."""
        return self.below(one_in) == one_in - 1

    def seed(self) -> int:
        """Return what seeds a generator."""
        return self.byte() << 8 | self.byte()


@dataclass(frozen=True)
class Falsified(Generic[T]):
    """What the search found.

    Attributes:
        example: the smallest that fails.
        error: what it fails with.
    """

    example: T
    error: Exception


def hypothesis() -> ModuleType:
    """Return the engine.

    Raises:
        ConformanceError: it is not installed.
    """
    try:
        import hypothesis
    except ImportError:
        raise ConformanceError(
            "the cases with random examples need Hypothesis: pip install 'opmux[conformance]'", missing="hypothesis"
        ) from None
    return hypothesis


def seed_of(*parts: object) -> int:
    """Return a seed that depends on what is named alone."""
    return zlib.crc32(repr(parts).encode())


def falsify(
    make: Callable[[Choices], T],
    holds: Callable[[T], None],
    *,
    examples: int,
    seed: int,
    tape: int = TAPE,
    shrinking: float = SHRINKING,
) -> Falsified[T] | None:
    """Return the smallest example found that raises, or None where every one holds.

    Args:
        make: reads an example from choices.
        holds: raises where an example fails.
        examples: how many are tried; what shrinks a failing one comes on top.
        seed: two searches with the same one try the same examples.
        tape: bytes of choices that an example has.
        shrinking: seconds for which a failing example is made smaller.

    Raises:
        DeviceLostError: at once, since nothing more can be learnt.
        ConformanceError: Hypothesis is not installed.
    """
    engine = hypothesis()
    search = _Search(make, holds, shrinking)
    settings = engine.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        verbosity=engine.Verbosity.quiet,
        phases=(engine.Phase.generate, engine.Phase.shrink),
        # A case has its own time limit, which counts on a machine that is busy as well.
        suppress_health_check=(engine.HealthCheck.too_slow,),
    )
    given = engine.given(engine.strategies.binary(min_size=tape, max_size=tape))
    try:
        with _own_storage():
            engine.seed(seed)(settings(given(search.attempt)))()
    except Exception as error:
        # With a failure noted this is the engine's view of it, which says less; among it "flaky", for what failed and,
        # tried again, held: a failure all the same.
        if search.found is None:
            raise ConformanceError(f"the search for examples broke off, a fault of the suite: {error!r}") from error
    if search.lost is not None:
        raise search.lost
    return search.found


class _Search(Generic[T]):
    """Notes what the engine tries."""

    def __init__(self, make: Callable[[Choices], T], holds: Callable[[T], None], shrinking: float) -> None:
        self._make, self._holds, self._shrinking = make, holds, shrinking
        self._until: float | None = None
        self.found: Falsified[T] | None = None
        self.lost: DeviceLostError | None = None

    def attempt(self, tape: bytes) -> None:
        if self.lost is not None or (self._until is not None and time.monotonic() > self._until):
            return
        example = self._make(Choices(tape))
        try:
            self._holds(example)
        except DeviceLostError as error:
            self.lost = error
        except Exception as error:
            self.found = Falsified(example, error)
            if self._until is None:
                self._until = time.monotonic() + self._shrinking
            # One type from one line: the engine keeps failures of different places apart.
            raise AssertionError from error


@contextlib.contextmanager
def _own_storage() -> Iterator[None]:
    """Let Hypothesis keep its files in the cache, not in the directory in which the suite was started."""
    from hypothesis import configuration

    # A path before 6.150 or so, since then something that has it as an attribute.
    current: Any = configuration.storage_directory(intent_to_write=False)
    before: Path = getattr(current, "home_directory", current)
    root = cache_root()
    if root is None:
        root = Path(tempfile.gettempdir()) / f"opmux-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    configuration.set_hypothesis_home_dir(root / "hypothesis")
    try:
        yield
    finally:
        configuration.set_hypothesis_home_dir(before)
