"""What a simulated accelerator is: the description file, as frozen dataclasses.

A description is a TOML file. All numbers are in SI units: hertz, bytes, bytes per second, seconds, joules, watts. Each
key has an allowed range, which a message names. ``docs/simulator.md`` lists the keys.

Rules that no single key can say:

- A device has a matrix unit, or a vector unit, or both.
- Without a matrix unit, contractions run on the vector unit, one multiply and one add per term.
- Without a vector unit, only contractions and data movement can be done, so such a device claims no profile.
- Every dtype of a unit's ``precisions`` stands in ``supports.dtypes``; of a profile that is claimed,
  every dtype that it speaks of is one of the vector unit's.
"""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Final

from ...plugin import ArgumentError
from .fields import A_TABLE, Reader, Wanted
from .hardware import COST_CLASSES, Description
from .parse import check_together, parse

__all__ = ["Description", "keys", "load", "loads", "preset", "presets"]

#: A description is a page or two of text; anything larger is not one, and is not worth parsing.
_LARGEST: Final = 256 << 10

_PRESETS: Final = f"{__package__}.presets"
_SUFFIX: Final = ".toml"


def load(path: str | Path) -> Description:
    """Return the description in a file.

    Raises:
        ArgumentError: for a file that cannot be read, is not TOML, or describes no device; it names the dotted key,
            what was given and what is allowed.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or str(error)
        raise ArgumentError(f"device description {path}: cannot be read: {reason}", where=str(path)) from error
    if len(content) > _LARGEST:
        raise ArgumentError(f"device description {path}: larger than {_LARGEST:,} bytes", where=str(path))
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        message = f"device description {path}: is not TOML, which is UTF-8: {error}"
        raise ArgumentError(message, where=str(path)) from error
    return loads(text, str(path))


def loads(text: str, where: str = "<text>") -> Description:
    """Return the description in a TOML text; *where* names it in messages.

    Raises:
        ArgumentError: as :func:`load`.
    """
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also integers longer than Python reads
        raise ArgumentError(f"device description {where}: is not TOML: {error}", where=where) from error
    with Reader(given, where) as reader:
        made = parse(reader)
        check_together(made, reader)
    return made


def presets() -> tuple[str, ...]:
    """Return the names of the descriptions that come with opmux, sorted."""
    names = (entry.name for entry in resources.files(_PRESETS).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


@functools.cache
def preset(name: str) -> Description:
    """Return a description that comes with opmux.

    Raises:
        ArgumentError: for a name that is none; it lists them.
    """
    if name not in presets():
        raise ArgumentError(f"no simulated device {name!r}; there are {', '.join(presets())}, and files", given=name)
    file = resources.files(_PRESETS).joinpath(name + _SUFFIX)
    return loads(file.read_text(encoding="utf-8"), f"preset {name}")


def keys() -> dict[str, Wanted]:
    """Return every key that a description may have, with what is allowed; ``int8`` stands for any dtype.

    >>> keys()["matrix.rows"].allowed
    'a whole number from 1 to 65536'
    """
    sections = Reader({}, "<sections>")
    parse(sections)
    given: dict[str, Any] = {name: {} for name, wanted in sections.wanted.items() if wanted.allowed == A_TABLE} | {
        "matrix": {"precisions": {"int8": {}}},
        "vector": {"precisions": {"int8": 1.0}, "costs": dict(COST_CLASSES)},
        "power": {"mac_joules": {"int8": 0.0}},
    }
    reader = Reader(given, "<all keys>")
    parse(reader)
    return reader.wanted
