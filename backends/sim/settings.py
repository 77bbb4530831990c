"""Which devices exist: the environment variables ``OPMUX_SIM``, ``OPMUX_SIM_FAULTS`` and ``OPMUX_SIM_RACES``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from ...plugin import ArgumentError
from .description import Description, load, preset, presets
from .happens_before import Mode
from .injection import FaultPlan

Value = TypeVar("Value")

DEVICES: Final = "OPMUX_SIM"
FAULTS: Final = "OPMUX_SIM_FAULTS"
RACES: Final = "OPMUX_SIM_RACES"
#: More drivers than this in one process are a slip: each is an object with memory of its own.
_MOST: Final = 4096

_MODES: Final[Mapping[str, Mode]] = {"": Mode.OFF, "0": Mode.OFF, "1": Mode.RECORD, "error": Mode.ERROR}


@dataclass(frozen=True, slots=True)
class Settings:
    """What is to be simulated.

    Attributes:
        devices: one description per device, in the order of their indices.
        faults: what is to go wrong.
        races: whether races are looked for.
    """

    devices: tuple[Description, ...] = ()
    faults: FaultPlan = field(default_factory=FaultPlan)
    races: Mode = Mode.OFF


def devices(text: str) -> tuple[Description, ...]:
    """Return the descriptions that a text names: presets and paths of TOML files, each with ``:COUNT`` or without,
    separated by commas. The first words of a preset's name will do where they are those of no other.

    Raises:
        ArgumentError: naming the part that is wrong, and what is allowed.

    >>> [d.name for d in devices("tpu-v1:2")]
    ['TPU v1', 'TPU v1']
    """
    made: list[Description] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, separator, count = part.rpartition(":")
        if not separator or not count.isascii() or not count.isdigit():
            name, count = part, "1"
        if not 1 <= int(count) <= _MOST - len(made):
            raise ArgumentError(
                f"{DEVICES}: {part!r}: a count is 1 or more, and all devices together are {_MOST:,} at most", given=part
            )
        described = _described(name)
        if any(other.name == described.name and other != described for other in made):
            raise ArgumentError(f"{DEVICES}: {part!r}: two descriptions have the name {described.name!r}", given=part)
        made += [described] * int(count)
    return tuple(made)


def _described(name: str) -> Description:
    if name.endswith(".toml") or os.sep in name:
        return load(Path(name).expanduser())
    near = [p for p in presets() if p == name or p.startswith(f"{name}-")]
    if name not in near and len(near) != 1:
        raise ArgumentError(
            f"{DEVICES}: no simulated device {name!r}; there are {', '.join(presets())}, and a description of your own "
            f"is the path of a file that ends in .toml",
            given=name,
        )
    return preset(name if name in near else near[0])


def _plan(text: str) -> FaultPlan:
    return FaultPlan.load(Path(text).expanduser()) if text.endswith(".toml") else FaultPlan.parse(text)


def _mode(text: str) -> Mode:
    if text not in _MODES:
        raise ArgumentError(f"{text!r} is none of 0, 1 and error", given=text)
    return _MODES[text]


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Return what the environment asks for.

    Raises:
        ArgumentError: naming the variable and the part that is wrong, and what is allowed.
    """
    given = os.environ if environment is None else environment
    return Settings(_read(DEVICES, devices, given), _read(FAULTS, _plan, given), _read(RACES, _mode, given))


def _read(variable: str, meaning: Callable[[str], Value], given: Mapping[str, str]) -> Value:
    """Return what a variable means; an error names it, so that `opmux doctor` takes it for the user's."""
    try:
        return meaning(given.get(variable, ""))
    except ArgumentError as error:
        said = str(error).removeprefix(f"{variable}: ")
        raise ArgumentError(f"{variable}: {said}", **{**error.culprits, "variable": variable}) from error
