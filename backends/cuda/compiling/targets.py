"""The architectures that kernels are compiled for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Target:
    """An architecture, as NVRTC names it.

    Attributes:
        name: such as ``"sm_90a"``.
        capability: the compute capability that it runs on, as (major, minor).
        exact: whether it runs on that capability alone; others also run on later minor versions of their major one.
        shared: bytes of shared memory that one block may have (CUDA C++ Programming Guide, technical specifications).
        threads: threads that one multiprocessor holds (the same table).
    """

    name: str
    capability: tuple[int, int]
    exact: bool
    shared: int
    threads: int

    def runs_on(self, capability: tuple[int, int]) -> bool:
        """Return whether a device of a compute capability runs code for this target.

        >>> TARGETS["sm_86"].runs_on((8, 9)), TARGETS["sm_90a"].runs_on((9, 1)), TARGETS["sm_80"].runs_on((9, 0))
        (True, False, False)
        """
        if self.exact:
            return capability == self.capability
        return capability[0] == self.capability[0] and capability[1] >= self.capability[1]


_KIB: Final = 1024
#: By name; those of one capability with the most exact one last.
TARGETS: Final[dict[str, Target]] = {
    t.name: t
    for t in (
        Target("sm_80", (8, 0), False, 163 * _KIB, 2048),
        Target("sm_86", (8, 6), False, 99 * _KIB, 1536),
        Target("sm_89", (8, 9), False, 99 * _KIB, 1536),
        Target("sm_90", (9, 0), False, 227 * _KIB, 2048),
        Target("sm_90a", (9, 0), True, 227 * _KIB, 2048),
        Target("sm_100", (10, 0), False, 227 * _KIB, 2048),
    )
}


def target_for(capability: tuple[int, int]) -> Target | None:
    """Return the target whose code serves a compute capability best, or None where no kernel runs on it.

    A capability that is later than those listed, and that none of them serves, gets a target of its own, with the least
    of what the listed ones have.

    >>> target_for((9, 0)).name, target_for((8, 7)).name, target_for((12, 0)).name, target_for((7, 5))
    ('sm_90a', 'sm_86', 'sm_120', None)
    """
    fitting = [t for t in TARGETS.values() if t.runs_on(capability)]
    if not fitting and capability > min(t.capability for t in TARGETS.values()):
        least = min(TARGETS.values(), key=lambda t: (t.shared, t.threads))
        return replace(least, name="sm_{}{}".format(*capability), capability=capability)
    return max(fitting, key=lambda t: (t.capability, t.exact), default=None)


def refusal(name: str, capability: tuple[int, int]) -> str:
    """Return what to say of a GPU that no kernel runs on.

    >>> refusal("Quadro RTX 4000", (7, 5))
    'Quadro RTX 4000 has compute capability 7.5; the kernels need 8.0 or later'
    """
    major, minor = min(t.capability for t in TARGETS.values())
    return f"{name} has compute capability {capability[0]}.{capability[1]}; the kernels need {major}.{minor} or later"
