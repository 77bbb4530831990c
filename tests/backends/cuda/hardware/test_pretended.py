"""The trials themselves: on a pretended GPU they pass, and fail where it gives wrong numbers or the wrong errors."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import opmux as ox
from opmux.backends import cuda as plugin
from opmux.backends.cuda.compiling import nvrtc
from opmux.backends.cuda.compiling.targets import TARGETS
from opmux.backends.cuda.products import wgmma
from opmux.backends.cuda.products.wgmma_kernels import PARTS, TARGET
from opmux.backends.cuda.source import part, whole
from opmux.plugin import HostBytes
from tests.backends.cuda.fake_cupy import FakeCublas, FakeCuda, Gpu, installed
from tests.backends.cuda.hardware import one
from tests.backends.cuda.hardware.behaviour import STRAY
from tests.backends.cuda.hardware.catalogue import FIRST, TRIALS, in_order
from tests.backends.cuda.hardware.products import ARRIVAL, ARRIVAL_IN_CLUSTER, MAPS
from tests.backends.cuda.hardware.trial import Place
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.test_matmul_wgmma import VARIANTS

PRETENDED = [name for name, trial in TRIALS.items() if trial.pretended]


class Wrong(HostRuntime):
    """A GPU whose results have a wrong bit, the last byte's, when they are read."""

    def download(self, target: HostBytes, pointer: int, stream: object) -> None:
        super().download(target, pointer, stream)
        target.view(np.uint8).reshape(-1)[-1:] ^= 0x40


def finding(name: str, kind: type[HostRuntime] = HostRuntime) -> str | None:
    """Return what a trial finds wrong with a machine of two pretended GPUs; None where it passes."""
    memory = 1 << 22 if name == "no memory left" else 1 << 26
    gpus = kind(memory, blas=True), kind(memory, ordinal=1)
    try:
        with registered(OnHost(*gpus)), ox.policy(fallback="forbid"):
            TRIALS[name].run(Place(ox.device("cuda:0"), pretended=True))
    except AssertionError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", PRETENDED)
def test_trials_pass(name: str) -> None:
    assert finding(name) is None


@pytest.mark.parametrize("name", [n for n in PRETENDED if not n.startswith("tensor maps")])
def test_trials_fail_on_a_wrong_bit(name: str) -> None:
    assert finding(name, Wrong)


@pytest.mark.parametrize(
    ("name", "kind", "outcome", "said"),
    [
        ("tensor maps that the driver takes", HostRuntime, "pass", "5 kinds"),
        ("copies between gpus", HostRuntime, "skip", "one GPU"),
        ("canonical product", Wrong, "fail", "in place of"),
    ],
)
def test_a_process_says_what_became_of_its_trial(name: str, kind: type[HostRuntime], outcome: str, said: str) -> None:
    with registered(OnHost(kind(1 << 26))):
        made = one.carried_out(name)
    assert (made["outcome"], said in made["said"]) == (outcome, True), made


def test_a_map_that_the_driver_refuses_fails_its_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> bytes:
        raise RuntimeError("CUDA_ERROR_1")

    monkeypatch.setattr(HostRuntime, "tensor_map", refuse)
    found = finding("tensor maps that the driver takes")
    assert found == "; ".join(f"{kind}: CUDA_ERROR_1" for kind in MAPS)


@contextmanager
def machine() -> Iterator[tuple[FakeCuda, Place]]:
    """A machine that computes nothing and holds every call to CUDA's rules."""
    cuda = FakeCuda(Gpu(memory=1 << 30))
    cuda.gives_again = True
    library = FakeCublas(cuda)
    with installed(cuda, cublas=library), registered(plugin), ox.policy(fallback="forbid"):
        yield cuda, Place(ox.device("cuda:0"), pretended=True)
    assert library.misuse == []


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("graphs of cublas", "graphLaunch"),
        ("graphs beside other threads", "graphLaunch"),
        ("a fork", "memcpyAsync"),
        ("no memory left", "memPoolTrimTo"),
    ],
)
def test_what_computes_nothing_keeps_to_the_rules_of_cuda(
    name: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.backends.cuda.hardware.behaviour._at_work", lambda *given: None)
    with machine() as (cuda, place):
        if name == "no memory left":
            monkeypatch.setattr(ox.Array, "tolist", lambda x: [7] * x.size)
            monkeypatch.setattr("tests.backends.cuda.hardware.behaviour.same", lambda *given: None)
        TRIALS[name].run(place)  # what breaks a rule raises, here or where the machine is left
    assert call in cuda.calls


def test_a_capture_that_cuda_refuses_fails_its_trial() -> None:
    with machine() as (cuda, place):
        cuda.failures["streamEndCapture"] = deque([901])
        with pytest.raises(AssertionError, match=r"not captured.*901|not captured.*Invalidated"):
            TRIALS["graphs of cublas"].run(place)


def test_an_illegal_address_has_to_lose_the_gpu() -> None:
    with machine() as (cuda, place):
        cuda.failures["launchKernel"] = deque([0, 0])
        place.put(np.ones(64, np.uint32))
        cuda.failures["launchKernel"] = deque([700])
        said = TRIALS["an illegal address"].run(place)
    assert said is not None
    assert said.count("cudaErrorIllegalAddress") == 2
    with machine() as (_, place), pytest.raises(AssertionError, match="it went on"):
        TRIALS["an illegal address"].run(place)


def test_texts_that_only_a_gpu_runs_compile() -> None:
    assert nvrtc.compiled(whole(STRAY, "elementwise"), TARGETS[TARGET]).image
    text = part("mbarrier")
    assert text.count(ARRIVAL) == 1
    arrivals = {"mbarrier": text.replace(ARRIVAL, ARRIVAL_IN_CLUSTER)}
    assert nvrtc.compiled(whole(wgmma.source(VARIANTS[0]), *PARTS, stand_ins=arrivals), TARGETS[TARGET]).log == ""


def test_the_first_comes_first_and_what_is_alone_last() -> None:
    found = in_order()
    assert found[0].name == FIRST
    alone = [t.alone for t in found]
    assert alone == sorted(alone)
    assert [t.name for t in in_order(("scan",))] == [FIRST, "scan"]
    with pytest.raises(ValueError, match=r"there are: .*scan"):
        in_order(("nothing",))
