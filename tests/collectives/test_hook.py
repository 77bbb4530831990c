"""The hook for communicators: asked late and once, checked whole, and its own errors reach the caller as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opmux.core.dispatch.registry import REGISTRY
from opmux.core.errors import CollectiveError, PluginError
from opmux.core.plugins import manager
from opmux.plugin import hookimpl

NAME = "courier"


class Carrier:
    """A communicator of one process."""

    name, process, processes = "courier", 0, 1

    def gather(self, record: bytes, timeout: float) -> tuple[bytes, ...]:
        return (record,)

    def open(self, mesh: int, owners: Any, rank: int) -> Any:
        return None

    def link(self, first: int, second: int) -> Any:
        return None


class Plugin:
    def __init__(self, *found: Any, error: Exception | None = None) -> None:
        self.found, self.error, self.asked = found, error, 0

    @hookimpl
    def opmux_communicators(self) -> list[Any]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return list(self.found)


@pytest.fixture
def register() -> Iterator[Any]:
    def add(plugin: Plugin) -> Plugin:
        manager.register(NAME, plugin)
        return plugin

    yield add
    manager.unregister(NAME)


def test_asked_only_when_wanted_and_once(register):
    plugin = register(Plugin(carrier := Carrier()))
    assert plugin.asked == 0
    assert carrier in REGISTRY.communicators()
    assert carrier in REGISTRY.communicators()
    assert plugin.asked == 1


class NoNumber(Carrier):
    process = "first"


class NoLink(Carrier):
    link = None


class OtherGather(Carrier):
    def gather(self, record: bytes) -> tuple[bytes, ...]:
        return (record,)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (NoNumber(), "process is 'first', not int"),
        (NoLink(), "it has no method link"),
        (OtherGather(), "cannot be called with 2 argument"),
        (3, "it has no method gather"),
    ],
)
def test_what_it_returns_is_checked(register, found, said):
    register(Plugin(found))
    with pytest.raises(PluginError, match=said):
        REGISTRY.communicators()


def test_its_own_error_reaches_the_caller(register):
    register(Plugin(error=CollectiveError("pip install it", install="it")))
    with pytest.raises(CollectiveError, match="pip install it"):
        REGISTRY.communicators()


def test_any_other_error_names_the_hook(register):
    register(Plugin(error=ZeroDivisionError("oops")))
    with pytest.raises(PluginError, match=r"opmux_communicators\(\) raised .*oops"):
        REGISTRY.communicators()
