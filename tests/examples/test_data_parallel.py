"""examples/data_parallel: few steps end with the same weights however micro-batches are spread, and by what carries."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import opmux as ox
from opmux.core.dispatch.registry import REGISTRY
from opmux.core.kernel import Determinism
from opmux.core.runtime import several_hosts

pytest.importorskip("sklearn", reason="the digits come with scikit-learn: pip install 'opmux[demo]'")

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "data_parallel" / "train.py"
STEPS = 3
LAUNCHER = shutil.which("mpiexec", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', '')}")
needs_mpi = pytest.mark.skipif(
    LAUNCHER is None or importlib.util.find_spec("mpi4py") is None,
    reason="needs mpi4py and mpiexec: pip install 'opmux[mpi]'",
)


@pytest.fixture(scope="module")
def program() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("data_parallel_train", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made  # dataclasses look their module up
    spec.loader.exec_module(made)
    yield made
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[ox.Device, ...]]:
    ox.devices()  # backends are loaded once, for one host
    with several_hosts(9) as devices:
        yield devices


def trained(program: ModuleType, devices: tuple[ox.Device, ...], **given: Any) -> Any:
    name = given.pop("network", "dense")
    recipe = next(r for r in program.RECIPES if r.network.name == name)
    mesh = ox.Mesh(devices, communicator="none")
    return program.train(recipe, program.load_digits(), mesh, **{"steps": STEPS, "seed": 0, **given})


@pytest.fixture(scope="module")
def alone(program: ModuleType, hosts: tuple[ox.Device, ...]) -> Any:
    """One rank, which computes every micro-batch by itself."""
    return trained(program, hosts[:1])


@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_ranks_of_one_process_end_with_the_same_weights(
    program: ModuleType, hosts: tuple[ox.Device, ...], alone: Any, ranks: int
) -> None:
    found = trained(program, hosts[:ranks])
    assert (found.ranks, found.processes, found.replicas_equal) == (ranks, 1, True)
    assert (found.sha256, found.accuracy) == (alone.sha256, alone.accuracy)


def test_which_device_holds_a_rank_does_not_matter(
    program: ModuleType, hosts: tuple[ox.Device, ...], alone: Any
) -> None:
    assert trained(program, (hosts[5], hosts[2])).sha256 == alone.sha256


def test_convolutional_network_too(program: ModuleType, hosts: tuple[ox.Device, ...]) -> None:
    found = {trained(program, hosts[:n], network="convolutional", steps=1).sha256 for n in (1, 3)}
    assert len(found) == 1


def test_another_seed_ends_with_other_weights(program: ModuleType, hosts: tuple[ox.Device, ...], alone: Any) -> None:
    assert trained(program, hosts[:1], seed=1).sha256 != alone.sha256


def in_rank_order(stacks: Any, mesh: ox.Mesh, **_: Any) -> Any:
    """Sum as one would without thinking of it: each rank its own first, then rank after rank."""
    with ox.policy(determinism="none"):  # the policy of the program refuses such a sum
        total = reduce(ox.add, [ox.sum(x, axis=0).to_device("cpu:0") for x in stacks])
    return ox.Handle.done_with([total.to_device(d) for d in mesh.local_devices])


def test_sum_in_the_order_of_ranks_is_caught(
    program: ModuleType, hosts: tuple[ox.Device, ...], alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ox, "all_reduce", in_rank_order)
    found = [trained(program, hosts[:n]) for n in (1, 2, 4)]
    assert all(f.replicas_equal for f in found)
    assert len({f.sha256 for f in found}) > 1


def test_rank_that_goes_astray_is_noticed(
    program: ModuleType, hosts: tuple[ox.Device, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def own_sum(stacks: Any, mesh: ox.Mesh, **_: Any) -> Any:
        with ox.policy(determinism="none"):
            return ox.Handle.done_with([ox.sum(x, axis=0) for x in stacks])

    monkeypatch.setattr(ox, "all_reduce", own_sum)
    assert not trained(program, hosts[:2]).replicas_equal


def test_nine_ranks_are_too_many(program: ModuleType, hosts: tuple[ox.Device, ...]) -> None:
    with pytest.raises(ox.ArgumentError, match="9 ranks share 8 micro-batches"):
        trained(program, hosts)


def test_every_kernel_of_the_backend_promises_the_canonical_class(program: ModuleType) -> None:
    ox.devices()
    [backend] = {given["backends"] for given in program.LOCAL.values() if given}
    kernels = REGISTRY.contributions[backend].kernels
    assert [k.name for k in kernels if k.promises.determinism is not Determinism.CANONICAL] == []


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI", "PRTE_"))}
    environment = {
        **clean,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        **variables,
    }
    return subprocess.run(
        [*command, sys.executable, str(PROGRAM), "--steps", str(STEPS), "--json"],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_command_over_several_devices(alone: Any) -> None:
    done = run(OPMUX_CPU_DEVICES="2", OPMUX_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["ranks"], found["processes"], found["sha256"]) == (2, 1, alone.sha256)


@needs_mpi
@pytest.mark.parametrize("processes", [1, 2, pytest.param(3, marks=pytest.mark.slow), 4])
def test_processes_end_with_the_same_weights(alone: Any, processes: int) -> None:
    done = run(str(LAUNCHER), "-n", str(processes))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["ranks"], found["processes"], found["replicas_equal"]) == (processes, processes, True)
    assert found["sha256"] == alone.sha256
