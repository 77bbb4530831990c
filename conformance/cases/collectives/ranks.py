"""The ranks that a target's collectives are tried on: its own devices, and hosts beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from ....core.collectives.mesh import Mesh
from ....core.devices.device import DEVICES, Device
from ....core.dispatch import observe
from ....core.dispatch.decision import Decision
from ....core.dispatch.policy import policy
from ....core.errors import ConformanceError
from ....core.plugins import manager
from ...target import Target, leaves
from . import hosts

#: Hosts that were made beside the first one. They are kept: each new one would be decided for anew.
_made: Final[list[Device]] = []


@contextmanager
def _hosts(count: int) -> Iterator[tuple[Device, ...]]:
    """Make the host so many devices for the time of a block."""
    found = [d for d in DEVICES if d.is_host]
    while len(found) + len(_made) < count:
        index = len(found) + len(_made)
        _made.append(Device(found[0].driver, index, found[0].owner, is_host=True))
    known = {d.name for d in found}
    added = [d for d in _made if d.name not in known][: max(count - len(found), 0)]
    for device in added:
        DEVICES.add(device)
    try:
        yield tuple((*found, *added)[:count])
    finally:
        for device in added:
            DEVICES.remove(device.name)


@dataclass(frozen=True)
class Ranks:
    """Devices to make meshes of.

    Attributes:
        target: the target.
        own: its devices.
        others: hosts beside them; none where the target's own device is the host.
    """

    target: Target
    own: tuple[Device, ...]
    others: tuple[Device, ...]

    def meshes(self, count: int) -> Iterator[Mesh]:
        """Yield meshes of so many ranks: the target's own where they are enough, else at the first and last places."""
        if len(self.own) >= count:
            yield Mesh(self.own[:count], communicator="none")
            return
        few = self.others[: count - len(self.own)]
        half = len(self.own) // 2
        yield Mesh((*self.own, *few), communicator="none")
        if count > 1:
            yield Mesh((*self.own[:half], *few, *self.own[half:]), communicator="none")

    @contextmanager
    def watched(self, op: str) -> Iterator[None]:
        """Fail when anybody but the target's backend computes on its devices inside."""
        strangers: list[str] = []

        def note(decision: Decision, operands: object, results: object, seconds: float) -> None:
            expected = self.target.backend if decision.device in self.own else hosts.NAME
            strangers.extend(c.name for c in leaves(decision.chosen) if c.backend not in (None, expected))

        observe.OBSERVERS.append(note)
        try:
            yield
        finally:
            observe.OBSERVERS.remove(note)
        if strangers:
            raise ConformanceError(
                f"{op}: {strangers[0]} ran, which is not {self.target.backend}'s: a fallback proves nothing",
                op=op,
                kernel=strangers[0],
            )


@contextmanager
def ranks_of(target: Target, most: int) -> Iterator[Ranks]:
    """Make what meshes of at most so many ranks need: several hosts, and who computes on those beside the target."""
    with ExitStack() as stack:
        found = stack.enter_context(_hosts(most))
        if target.device.is_host:
            yield Ranks(target, found, ())
            return
        own = tuple(d for d in DEVICES if d.kind == target.device.kind)[:most]
        manager.register(hosts.NAME, hosts.Hosts())
        stack.callback(manager.unregister, hosts.NAME)
        stack.enter_context(policy(backends={target.backend, hosts.NAME}, fallback="forbid"))
        yield Ranks(target, own, found)
