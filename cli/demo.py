"""The demo: real handwritten digits, two networks, each backend, and the dispatcher choosing among them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

import opmux as ox

from ..core import runtime
from ..core.explain import explanation_of
from ..core.observe import CallCount, count_calls
from ..core.registry import REGISTRY
from .networks import RECIPES, Recipe, accuracy, train
from .output import emit, table

MIX = "dispatcher"


@dataclass(frozen=True)
class Digits:
    """The data, split: every fourth example of the set, by a fixed shuffle, is held out."""

    train_x: ox.Array
    train_labels: ox.Array
    test_x: ox.Array
    test_labels: ox.Array


@dataclass(frozen=True)
class Run:
    """One network trained in one way."""

    network: str
    backend: str
    accuracy: float
    target: float
    seconds: float
    calls: tuple[CallCount, ...]

    def shares(self) -> dict[str, float]:
        """Return the share of the time that each candidate took, the largest first."""
        total = sum(c.seconds for c in self.calls) or 1.0
        found: dict[str, float] = {}
        for c in self.calls:
            found[c.decision.chosen.name] = found.get(c.decision.chosen.name, 0.0) + c.seconds / total
        return dict(sorted(found.items(), key=lambda kv: -kv[1]))


def load_digits() -> Digits:
    """Return the 1,797 digits of scikit-learn (UCI, 8x8 pixels of 0 to 16), scaled to [0, 1]."""
    from sklearn.datasets import load_digits as load  # type: ignore[import-untyped]

    data = load()
    images = (data.images / 16.0).astype(np.float32)[:, None]
    labels = data.target.astype(np.int64)
    order = np.random.default_rng(2025).permutation(len(labels))
    held_out, kept = order[: len(order) // 4], order[len(order) // 4 :]
    return Digits(*(ox.asarray(a[i], copy=True) for i in (kept, held_out) for a in (images, labels)))


@contextlib.contextmanager
def preferring(backend: str) -> Iterator[None]:
    """Pin every op that a backend has a kernel for to it; for what it lacks, and for the mix, the dispatcher chooses."""
    kernels = () if backend == MIX else REGISTRY.contributions[backend].kernels
    with ox.policy(pins={k.op: backend for k in kernels}):
        yield


def train_once(digits: Digits, recipe: Recipe, backend: str, progress: Progress) -> Run:
    """Train and test one network in one way."""
    steps = recipe.epochs * (digits.train_x.shape[0] // recipe.batch)
    task = progress.add_task(f"{recipe.network.name} on {backend}", total=steps)
    with preferring(backend), count_calls() as seen:
        start = time.perf_counter()
        p = train(
            ox, recipe, digits.train_x, digits.train_labels, progress=lambda: progress.advance(task)
        )
        seconds = time.perf_counter() - start
        reached = accuracy(ox, recipe.network, p, digits.test_x, digits.test_labels)
    return Run(recipe.network.name, backend, reached, recipe.target, seconds, tuple(seen.most_expensive()))


def usable_backends(wanted: Sequence[str]) -> list[str]:
    """Return the backends that can run the networks on their own.

    Raises:
        ArgumentError: for a backend that is not there.
    """
    runtime.ensure_loaded()
    present = [name for name, c in REGISTRY.contributions.items() if any(k.device == "cpu" for k in c.kernels)]
    unknown = set(wanted) - set(present)
    if unknown:
        raise ox.ArgumentError(
            f"no backend {', '.join(sorted(unknown))} for cpu; present: {', '.join(present)}", backends=unknown
        )
    return [n for n in present if not wanted or n in wanted]


def run_demo(output: Path, wanted: Sequence[str], console: Console) -> dict[str, Any]:
    """Run everything, print it, and write the JSON and the chart."""
    output.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    ways = [*usable_backends(wanted), MIX]
    with Progress(console=console, transient=True) as progress:
        runs = [train_once(digits, recipe, way, progress) for recipe in RECIPES for way in ways]
    report = describe(digits, runs)
    show(runs)
    emit(report, str(output / "demo.json"))
    from .demo_chart import draw

    draw(runs, output / "demo.png")
    console.print(f"wrote {output / 'demo.png'}")
    missed = [r for r in runs if r.accuracy < r.target]
    if missed:
        raise ox.ConformanceError(
            "; ".join(f"{r.network} on {r.backend} reached {r.accuracy:.2%}, below {r.target:.0%}" for r in missed)
        )
    return report


def dearest(runs: Sequence[Run]) -> list[CallCount]:
    """Return the two calls on which the dispatcher's mix spent most time, over all networks."""
    found = [c for r in runs if r.backend == MIX for c in r.calls]
    return sorted(found, key=lambda c: -c.seconds)[:2]


def show(runs: Sequence[Run]) -> None:
    """Print accuracy and time, who ran what, and why the two dearest calls ran where they did."""
    table(
        "Handwritten digits: accuracy on the held-out quarter, training time",
        ("network", "run by", "accuracy", "target", "seconds", "calls"),
        [
            (r.network, r.backend, f"{r.accuracy:.2%}", f"{r.target:.0%}", f"{r.seconds:.2f}", sum(c.calls for c in r.calls))
            for r in runs
        ],
    )
    table(
        "\nWho ran the calls of the dispatcher's mix, by share of the time inside calls",
        ("network", "kernel", "share"),
        [(r.network, name, f"{s:.1%}") for r in runs if r.backend == MIX for name, s in list(r.shares().items())[:8]],
    )
    for count in dearest(runs):
        print(f"\n{count.calls} calls, {count.seconds:.2f} s in all:\n{explanation_of(count.decision)}")


def describe(digits: Digits, runs: Sequence[Run]) -> dict[str, Any]:
    """Return everything as plain data."""
    return {
        "data": {"name": "digits", "train": digits.train_x.shape[0], "held_out": digits.test_x.shape[0]},
        "runs": [
            {
                "network": r.network,
                "backend": r.backend,
                "accuracy": r.accuracy,
                "target": r.target,
                "met": r.accuracy >= r.target,
                "seconds": r.seconds,
                "calls": sum(c.calls for c in r.calls),
                "shares": r.shares(),
            }
            for r in runs
        ],
        "dearest": [
            {"calls": c.calls, "seconds": c.seconds, "explanation": explanation_of(c.decision).to_dict()}
            for c in dearest(runs)
        ],
    }
