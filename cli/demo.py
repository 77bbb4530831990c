"""The demo: real handwritten digits, two networks, each backend, and the dispatcher choosing among them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich.progress import Progress

import opmux as ox

from ..core import runtime
from ..core.dispatch.decision import Kind
from ..core.dispatch.explanation import steps_of
from ..core.dispatch.observe import CallCount, CallCounts
from ..core.dispatch.registry import REGISTRY
from .networks import Recipe, accuracy, train
from .output import progress_bars

#: The way in which nothing is pinned.
MIX: Final = "dispatcher"


@dataclass(frozen=True)
class Digits:
    """The data, split: a quarter of the examples, by a fixed shuffle, is held out."""

    train_x: ox.Array
    train_labels: ox.Array
    test_x: ox.Array
    test_labels: ox.Array


@dataclass(frozen=True)
class Share:
    """What one kernel did for one op.

    Attributes:
        op: the op.
        kernel: ``backend/kernel``.
        calls: how often it ran.
        seconds: in all.
        inside: ops whose decompositions called it; empty where only the networks themselves did.
    """

    op: str
    kernel: str
    calls: int
    seconds: float
    inside: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One network trained in one way.

    Attributes:
        network: its name.
        backend: who ran it.
        accuracy: on the held-out quarter.
        target: what that must reach.
        seconds: of the training.
        calls: by decision, as the network made them, the dearest first.
        shares: the same broken down to kernels, the dearest first.
    """

    network: str
    backend: str
    accuracy: float
    target: float
    seconds: float
    calls: tuple[CallCount, ...]
    shares: tuple[Share, ...]


def load_digits() -> Digits:
    """Return the 1,797 digits of scikit-learn (UCI, 8x8 pixels of 0 to 16), scaled to [0, 1]."""
    from sklearn.datasets import load_digits as load

    data = load()
    images = (data.images / 16.0).astype(np.float32)[:, None]
    labels = data.target.astype(np.int64)
    order = np.random.default_rng(2025).permutation(len(labels))
    held_out, kept = order[: len(order) // 4], order[len(order) // 4 :]
    return Digits(*(ox.asarray(a[i], copy=True) for i in (kept, held_out) for a in (images, labels)))


def usable_backends(wanted: Sequence[str]) -> list[str]:
    """Return the backends that have kernels for the host, or those of them that are wanted.

    Raises:
        ArgumentError: for a backend that is not there.
    """
    runtime.ensure_loaded()
    present = [name for name, c in REGISTRY.contributions.items() if any(k.device == "cpu" for k in c.kernels)]
    unknown = [name for name in wanted if name not in present]
    if unknown:
        raise ox.ArgumentError(
            f"no backend {' and '.join(unknown)} for cpu; present: {', '.join(present)}. "
            f"`opmux doctor` says why one is missing",
            backends=unknown,
        )
    return [n for n in present if not wanted or n in wanted]


@contextlib.contextmanager
def preferring(backend: str) -> Iterator[None]:
    """Pin all ops for which a backend has a kernel to it; for the rest, and for the mix, the dispatcher chooses."""
    kernels = () if backend == MIX else REGISTRY.contributions[backend].kernels
    with ox.policy(pins={k.op: backend for k in kernels}):
        yield


def run_all(digits: Digits, recipes: Sequence[Recipe], backends: Sequence[str]) -> list[Run]:
    """Train every network on every backend, then with the dispatcher choosing."""
    ways = [(recipe, way) for recipe in recipes for way in (*backends, MIX)]
    with progress_bars() as progress:
        return [_run(digits, recipe, way, progress) for recipe, way in ways]


def _run(digits: Digits, recipe: Recipe, backend: str, progress: Progress) -> Run:
    task = progress.add_task(f"{recipe.network.name} by {backend}", total=recipe.steps(digits.train_x.shape[0]))
    with preferring(backend):
        with ox.count_calls() as seen:
            start = time.perf_counter()
            p = train(ox, recipe, digits.train_x, digits.train_labels, progress=lambda: progress.advance(task))
            seconds = time.perf_counter() - start
        reached = accuracy(ox, recipe.network, p, digits.test_x, digits.test_labels)
    progress.remove_task(task)
    calls = tuple(seen.most_expensive())
    return Run(recipe.network.name, backend, reached, recipe.target, seconds, calls, shares_of(seen))


def shares_of(seen: CallCounts) -> tuple[Share, ...]:
    """Return what each kernel did, those that ran inside of decompositions too, the dearest first."""
    inside: dict[tuple[str, str], set[str]] = {}
    for count in seen.most_expensive():
        for step in steps_of(count.decision):
            if step is not count.decision:
                inside.setdefault((step.op.name, step.chosen.name), set()).add(count.decision.op.name)
    found: dict[tuple[str, str], tuple[int, float]] = {}
    for count in (*seen.most_expensive(), *seen.steps()):
        chosen = count.decision.chosen
        if chosen.parts and chosen.kind is not Kind.FALLBACK:
            continue  # its parts are counted as steps
        key = (count.decision.op.name, chosen.name)
        calls, seconds = found.get(key, (0, 0.0))
        found[key] = (calls + count.calls, seconds + count.seconds)
    shares = (Share(*key, *done, tuple(sorted(inside.get(key, ())))) for key, done in found.items())
    return tuple(sorted(shares, key=lambda s: -s.seconds))
