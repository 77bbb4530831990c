"""Numbers and messages as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final


def in_seconds(seconds: float) -> str:
    """Return a time with the unit that suits it.

    >>> in_seconds(0.0000123), in_seconds(2.5), in_seconds(184)
    ('12.3 µs', '2.5 s', '184 s')
    """
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def in_bytes(count: float) -> str:
    """Return a number of bytes with the unit that suits it.

    >>> in_bytes(65536), in_bytes(25325260800), in_bytes(12)
    ('64 KiB', '23.6 GiB', '12 B')
    """
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:.0f} B"


def outcome_words(outcome: str) -> str:
    """Return an outcome's name for people.

    >>> outcome_words("under_claim")
    'under claim'
    """
    return outcome.replace("_", " ")


def shortened(text: str, limit: int) -> str:
    """Return a text of at most so many characters, saying how many more there were.

    >>> shortened("a wrong result", 7)
    'a wrong… (7 more characters)'
    """
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit:,} more characters)"


def first_line(text: str, limit: int = 160) -> str:
    """Return the first line that says something.

    >>> first_line("\\n exp: 3 ULP\\nat [0, 1]")
    'exp: 3 ULP'
    """
    return shortened(next((line.strip() for line in text.splitlines() if line.strip()), ""), limit)


#: Dtypes that stand for each other where all of them are meant.
_TOGETHER: Final = {
    ("int8", "int16", "int32", "int64"): "int8-64",
    ("uint8", "uint16", "uint32", "uint64"): "uint8-64",
    ("float16", "bfloat16", "float32", "float64"): "float16-64",
    ("complex64", "complex128"): "complex64-128",
    ("float8_e4m3fn", "float8_e5m2"): "float8",
}


def abridged(dtypes: Sequence[str]) -> list[str]:
    """Return dtypes with a short name for those that are there together.

    >>> abridged(["bool", "uint8", "float32", "complex64", "complex128"])
    ['bool', 'uint8', 'float32', 'complex64-128']
    """
    names = {t: word for together, word in _TOGETHER.items() if set(together) <= set(dtypes) for t in together}
    return list(dict.fromkeys(names.get(t, t) for t in dtypes))
