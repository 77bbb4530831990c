"""Train the digits network data-parallel: eight micro-batches a step, spread over the ranks of a mesh.

The same program runs in one process, over its devices, and under a launcher, over processes::

    OPMUX_CPU_DEVICES=4 python train.py
    mpiexec -n 4 python train.py

In canonical mode both end with the same weights, bit for bit, as one rank alone. README.md says why.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import opmux as ox
from opmux.cli.demo import Digits, load_digits
from opmux.cli.networks import RECIPES, Adam, Parameters, Recipe, accuracy, moved, wanted_probabilities

#: Contributions to the gradient of a step, whatever the number of ranks.
MICRO_BATCHES: Final = 8

#: What a rank computes by itself may and must do, by mode. Every kernel of ``llvm`` follows the canonical orders, so
#: there any choice among them gives the same bits; ``proven`` takes only what conformance has shown to do so.
LOCAL: Final[dict[str, dict[str, Any]]] = {
    "canonical": {"backends": "llvm"},
    "proven": {"backends": "llvm", "determinism": "canonical"},
    "fast": {},
}
#: The same for the sum over all ranks.
REDUCTION: Final[dict[str, dict[str, Any]]] = {
    "canonical": {"determinism": "canonical"},
    "proven": {"determinism": "canonical"},
    "fast": {},
}

Batch = tuple[ox.Array, ox.Array]


@dataclass(frozen=True)
class Result:
    """What a training ended with.

    Attributes:
        network: its name.
        mode: ``"canonical"``, ``"proven"`` or ``"fast"``.
        ranks: how many shared the micro-batches.
        processes: over how many processes.
        steps: how many were made.
        accuracy: on the held-out quarter.
        sha256: of the weights of rank 0: their bytes, parameter after parameter.
        replicas_equal: whether all ranks have these weights.
        seconds: of the training.
    """

    network: str
    mode: str
    ranks: int
    processes: int
    steps: int
    accuracy: float
    sha256: str
    replicas_equal: bool
    seconds: float


@dataclass
class Replica:
    """The network as one local rank holds it, and that rank's micro-batches.

    Attributes:
        device: where it is.
        own: its micro-batches, as a slice of all.
        weights: the parameters.
        state: of the optimiser, one pair of tuples per parameter, so that each can be updated by itself.
    """

    device: ox.Device
    own: slice
    weights: list[ox.Array] = field(default_factory=list)
    state: list[tuple[Parameters, Parameters]] = field(default_factory=list)


def share(ranks: int) -> tuple[int, ...]:
    """Return how many micro-batches each rank takes: nearly equal numbers, the larger first.

    Raises:
        opmux.ArgumentError: when a rank would have none.

    >>> share(3)
    (3, 3, 2)
    """
    if ranks > MICRO_BATCHES:
        raise ox.ArgumentError(
            f"{ranks} ranks share {MICRO_BATCHES} micro-batches; use at most {MICRO_BATCHES} ranks", ranks=ranks
        )
    each, more = divmod(MICRO_BATCHES, ranks)
    return tuple(each + (rank < more) for rank in range(ranks))


@contextlib.contextmanager
def on(device: ox.Device) -> Iterator[None]:
    """Make new arrays on a device inside the block."""
    before = ox.zeros(()).device
    ox.set_default_device(device)
    try:
        yield
    finally:
        ox.set_default_device(before)


def batches(recipe: Recipe, digits: Digits, seed: int) -> Iterator[Batch]:
    """Yield batches without end. They hang on the seed alone, so each process draws the same ones for itself.

    Drawing is movement, integers, and single correctly rounded operations: the same bits by any kernel.
    """
    generator = ox.Generator(seed + 1)
    examples = digits.train_x.shape[0]
    while True:
        shuffled = generator.permutation(examples)
        for start in range(0, examples - recipe.batch + 1, recipe.batch):
            chosen = shuffled[start : start + recipe.batch]
            images = moved(ox, ox.gather(digits.train_x, chosen, axis=0), generator, recipe.moved)
            yield images, wanted_probabilities(ox, ox.gather(digits.train_labels, chosen, axis=0), recipe.smoothing)


def contributions(recipe: Recipe, replica: Replica, batch: Batch) -> list[ox.Array]:
    """Return for each parameter the gradients of a rank's micro-batches, stacked along axis 0."""
    length = recipe.batch // MICRO_BATCHES
    found = []
    for number in range(MICRO_BATCHES)[replica.own]:
        x, wanted = (a[number * length : (number + 1) * length].to_device(replica.device) for a in batch)
        found.append(recipe.network.loss_gradient(ox, tuple(replica.weights), x, wanted))
    return [ox.stack(gradients) for gradients in zip(*found, strict=True)]


def begin(local: Sequence[Sequence[ox.Array]], mesh: ox.Mesh) -> list[Any]:
    """Begin one sum per parameter over all micro-batches of all ranks, and return the handles."""
    sizes = share(mesh.size)
    return [ox.all_reduce(stacks, mesh, axis=0, sizes=sizes, wait=False) for stacks in zip(*local, strict=True)]


def update(replicas: Sequence[Replica], handles: Sequence[Any], number: int, rate: float) -> None:
    """Move each parameter as soon as its sum is there, while those of later ones are still under way."""
    optimiser = Adam()
    for k, handle in enumerate(handles):
        for replica, total in zip(replicas, handle.wait(), strict=True):
            with on(replica.device):
                (replica.weights[k],), replica.state[k] = optimiser.step(
                    ox,
                    (replica.weights[k],),
                    (total / float(MICRO_BATCHES),),
                    replica.state[k],
                    ox.full((), float(number)),
                    ox.full((), rate),
                )


def replicas_of(recipe: Recipe, mesh: ox.Mesh, seed: int) -> list[Replica]:
    """Return the local ranks' replicas, all with the same weights."""
    sizes, made = share(mesh.size), []
    for rank, device in zip(mesh.local_ranks, mesh.local_devices, strict=True):
        first = sum(sizes[:rank])
        replica = Replica(device, slice(first, first + sizes[rank]))
        with on(device):
            replica.weights = list(recipe.network.parameters(ox, seed))
            replica.state = [Adam().start(ox, (w,)) for w in replica.weights]
        made.append(replica)
    return made


def digest(weights: Sequence[ox.Array]) -> bytes:
    """Return the SHA-256 of weights."""
    return hashlib.sha256(b"".join(w.to_device("cpu").numpy().tobytes() for w in weights)).digest()


def agree(replicas: Sequence[Replica], mesh: ox.Mesh) -> bool:
    """Return whether the weights of all ranks, those of other processes among them, are the same bits."""
    own = [ox.asarray([list(digest(r.weights))], dtype=ox.uint8, device=r.device) for r in replicas]
    rows = ox.all_gather(own, mesh)[0].tolist()
    return all(row == rows[0] for row in rows)


def train(recipe: Recipe, digits: Digits, mesh: ox.Mesh, *, mode: str = "canonical", steps: int, seed: int) -> Result:
    """Train, and return what came of it; every process of the mesh calls this alike."""
    drawn = batches(recipe, digits, seed)
    with ox.policy(**LOCAL[mode]):
        replicas = replicas_of(recipe, mesh, seed)
    start, batch = time.perf_counter(), next(drawn)
    for done in range(steps):
        with ox.policy(**LOCAL[mode]):
            local = [contributions(recipe, r, batch) for r in replicas]
        with ox.policy(**REDUCTION[mode]):
            handles = begin(local, mesh)
        if done + 1 < steps:
            batch = next(drawn)  # while the gradients are under way
        rate = recipe.rate * (1.0 + math.cos(math.pi * done / steps)) / 2.0
        with ox.policy(**LOCAL[mode]):
            update(replicas, handles, done + 1, rate)
    seconds = time.perf_counter() - start
    with ox.policy(**LOCAL[mode]):
        held_out = (a.to_device(replicas[0].device) for a in (digits.test_x, digits.test_labels))
        reached = accuracy(ox, recipe.network, tuple(replicas[0].weights), *held_out)
    name, processes = recipe.network.name, len({member.process for member in mesh.members})
    sha256, equal = digest(replicas[0].weights).hex(), agree(replicas, mesh)
    return Result(name, mode, mesh.size, processes, steps, reached, sha256, equal, seconds)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", choices=[r.network.name for r in RECIPES], default=RECIPES[0].network.name)
    parser.add_argument("--mode", choices=list(LOCAL), default="canonical")
    parser.add_argument("--epochs", type=int, help="passes over the data; by default the network's own")
    parser.add_argument("--steps", type=int, help="steps, in place of passes")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the order of the data")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    read = parser.parse_args(given)
    for name in ("epochs", "steps"):
        value = getattr(read, name)
        if value is not None and value < 1:
            parser.error(f"--{name} {value}; give 1 or more")
    return read


def main(given: Sequence[str] | None = None) -> int:
    """Train as the command line says; the process of rank 0 prints the result."""
    read = arguments(given)
    recipe = next(r for r in RECIPES if r.network.name == read.network)
    recipe = replace(recipe, epochs=read.epochs or recipe.epochs)
    try:
        digits, mesh = load_digits(), ox.Mesh()
        steps = read.steps or recipe.steps(digits.train_x.shape[0])
        result = train(recipe, digits, mesh, mode=read.mode, steps=steps, seed=read.seed)
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: pip install 'opmux[demo]'", file=sys.stderr)
        return 2
    except ox.OpmuxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if 0 in mesh.local_ranks:
        said = json.dumps(asdict(result), indent=2) if read.json else text(result)
        print(said)
    return 0 if result.replicas_equal else 1


def text(result: Result) -> str:
    """Return a result in words."""
    plural = "" if result.ranks == 1 else "s"
    shared = f"{result.ranks} rank{plural} in {result.processes} process{'es' * (result.processes > 1)}"
    lines = [
        f"{result.network}, {result.mode}: {result.steps} steps of {MICRO_BATCHES} micro-batches on {shared}",
        f"{result.seconds:.1f} s",
        f"accuracy on the held-out quarter: {result.accuracy:.4f}",
        f"sha256 of the weights: {result.sha256}",
    ]
    if not result.replicas_equal:
        lines.append("the ranks have different weights")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
