"""Version numbers of the interface and of the opset, and which of them fit together."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Final

_NUMBER: Final = re.compile(r"\d+(\.\d+)*", re.ASCII)
_CLAUSE: Final = re.compile(r"(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)", re.ASCII)
Release = tuple[int, ...]
_COMPARE: Final[dict[str, Callable[[Release, Release], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def parse_version(text: str) -> Release:
    """Return the numbers of a dotted version without trailing zeros, so that 1 equals 1.0.

    Raises:
        ValueError: for anything but digits and dots.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a dotted version number such as '0.1'")
    numbers = [int(n) for n in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def parse_range(text: str) -> tuple[tuple[str, Release], ...]:
    """Return the clauses of a range such as ``">=0.1,<1"``; every one of them must hold.

    Raises:
        ValueError: naming the clause that is not one.
    """
    clauses = []
    for part in text.split(","):
        match = _CLAUSE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part.strip()!r} is not a clause such as '>=0.1' (one of {', '.join(_COMPARE)})")
        clauses.append((match[1], parse_version(match[2])))
    return tuple(clauses)


def in_range(version: str, text: str) -> bool:
    """Return whether a version satisfies every clause of a range.

    >>> in_range("0.3", ">=0.1,<1"), in_range("1.0", ">=0.1,<1")
    (True, False)
    """
    release = parse_version(version)
    return all(_COMPARE[sign](release, bound) for sign, bound in parse_range(text))


def spi_fits(wanted: str, offered: str) -> bool:
    """Return whether a plugin made for one version of the interface works with another one.

    The majors must agree, and while the major is 0, when every minor may break, the minors too.

    >>> spi_fits("0.1", "0.1"), spi_fits("0.1", "0.2"), spi_fits("1.0", "1.4"), spi_fits("2.0", "1.4")
    (True, False, True, False)
    """
    pair = [(*parse_version(text), 0, 0)[:2] for text in (wanted, offered)]
    (wanted_major, wanted_minor), (offered_major, offered_minor) = pair
    if wanted_major != offered_major:
        return False
    return wanted_minor == offered_minor if wanted_major == 0 else wanted_minor <= offered_minor
