"""The peers: who is measured, each in a process of its own."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import PeerUnavailableError, UnknownNameError
from .base import AsGiven, Calls, Peer, Program

__all__ = [
    "PEERS", "PROBE", "AsGiven", "Calls", "Entry", "Peer", "Program", "entry", "load_peer", "missing", "parse_peers",
]  # fmt: skip

#: Takes part in every round like a peer, so that a share of the limit is quoted against the same moment.
PROBE: Final = "probe"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a peer is found.

    Attributes:
        module: of this package; its ``peer(backend)`` makes the peer.
        needs: modules without which it cannot run.
        backend: for opmux, the only backend allowed; None leaves the choice to the dispatcher. Else a way to use it.
        device: the kind of device that it runs on.
    """

    module: str
    needs: tuple[str, ...]
    backend: str | None = None
    device: str = "cpu"


PEERS: Final[dict[str, Entry]] = {
    "opmux": Entry("opmux", ("opmux",)),
    "opmux-llvm": Entry("opmux", ("opmux",), "llvm"),
    "opmux-numpy": Entry("opmux", ("opmux",), "numpy"),
    "numpy": Entry("numpy", ("numpy",)),
    "torch": Entry("torch", ("torch",)),
    "jax": Entry("jax", ("jax",)),
    "numba": Entry("numba", ("numba",)),
    "numexpr": Entry("numexpr", ("numexpr",)),
    "opmux-cuda": Entry("gpu_opmux", ("opmux", "cupy"), None, "cuda"),
    "opmux-own-cuda": Entry("gpu_opmux", ("opmux", "cupy"), "own", "cuda"),
    "cupy": Entry("gpu_cupy", ("cupy",), None, "cuda"),
    "torch-cuda": Entry("gpu_torch", ("torch",), None, "cuda"),
    "torch-compile-cuda": Entry("gpu_torch", ("torch",), "compile", "cuda"),
    PROBE: Entry("probe", ("opmux",)),
}


def entry(name: str) -> Entry:
    """Return where a peer is found; ``opmux-BACKEND`` is opmux with only that backend, for every installed one.

    Raises:
        UnknownNameError: for a peer that does not exist.
    """
    if name in PEERS:
        return PEERS[name]
    backends = sorted(e.name for e in importlib.metadata.entry_points(group="opmux.backends"))
    if name.startswith("opmux-") and name.removeprefix("opmux-") in backends:
        return Entry("opmux", ("opmux",), name.removeprefix("opmux-"))
    known = [n for n in PEERS if n != PROBE]
    known += [f"opmux-{b}" for b in backends if f"opmux-{b}" not in PEERS]
    raise UnknownNameError(f"no peer {name!r}; there are {', '.join(known)}")


def parse_peers(text: str | None, device: str = "cpu") -> Sequence[str]:
    """Return the peers of a comma-separated list; without one, all that run on a kind of device.

    Raises:
        UnknownNameError: for a peer that does not exist, or an empty list.
    """
    if text is None:
        return [name for name, found in PEERS.items() if name != PROBE and found.device == device]
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise UnknownNameError("no peer given; give names with commas between them, or leave the option out")
    for name in names:
        if name == PROBE:
            raise UnknownNameError(f"{PROBE!r} always takes part and cannot be asked for")
        entry(name)
    return names


def missing(name: str) -> str | None:
    """Return why a peer cannot run here, or None."""
    absent = [module for module in entry(name).needs if importlib.util.find_spec(module) is None]
    return f"{', '.join(absent)} is not installed" if absent else None


def load_peer(name: str) -> Peer:
    """Return a peer; its library is imported here, so this belongs in a worker.

    Raises:
        PeerUnavailableError: where its library is not installed or cannot be imported.
    """
    found = entry(name)
    try:
        module = importlib.import_module(f".{found.module}", __name__)
    except ImportError as error:
        raise PeerUnavailableError(f"{name} cannot be imported: {error}") from error
    peer: Peer = module.peer(found.backend)
    return peer
