"""Faults of drivers and of kernels' launches, planted from outside, and the cases that must catch them.

A driver's fault is a driver around the right one (:mod:`.driver_plants`), a launch's fault a function around the right
launch (:mod:`.launch_plants`). Neither knows the device that it is planted on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opmux.conformance.cases.devices.interception import Around

Launch = Callable[..., Any]


@dataclass(frozen=True)
class Plant:
    """A fault.

    Attributes:
        name: of the fault.
        killers: ids of the cases that catch it, without ``device-any-``.
        driver: what is put around the driver, or None.
        launch: what is put around every launch, or None: ``launch(right, outs, ins, workspace, queue)``.
        prepare: what is put around every ``prepare``, or None: ``prepare(right, spec)``.
        host: whether it is planted on ``cpu``; otherwise on a device of its own.
    """

    name: str
    killers: tuple[str, ...]
    driver: Callable[[Any], Around] | None = None
    launch: Callable[[], Callable[..., Any]] | None = None
    prepare: Callable[[], Callable[..., Any]] | None = None
    host: bool = False


PLANTS: list[Plant] = []


def driver(name: str, *killers: str, host: bool = False) -> Callable[[type[Around]], type[Around]]:
    def enter(made: type[Around]) -> type[Around]:
        PLANTS.append(Plant(name, killers, driver=made, host=host))
        return made

    return enter


def launch(name: str, *killers: str, host: bool = False) -> Callable[[Callable[[], Launch]], Callable[[], Launch]]:
    def enter(made: Callable[[], Launch]) -> Callable[[], Launch]:
        PLANTS.append(Plant(name, killers, launch=made, host=host))
        return made

    return enter
