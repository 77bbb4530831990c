"""The benchmark of a GPU, without one: its cases on a pretended GPU, its peers' parts, its targets, its refusal."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from time import perf_counter
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

import opmux as ox
from opmux.backends import cuda as cuda_backend
from opmux.benchmarks import devices
from opmux.benchmarks import run as run_module
from opmux.benchmarks.case import Case
from opmux.benchmarks.cli import main
from opmux.benchmarks.errors import PeerUnavailableError, UnsupportedCaseError, WorkerError, WrongResultError
from opmux.benchmarks.kinds import as_given, draw, expected, make_case
from opmux.benchmarks.measure import measure_case
from opmux.benchmarks.peers import PEERS, PROBE, AsGiven, Peer, gpu, parse_peers
from opmux.benchmarks.peers.gpu import FirstCall, Launches, device_copy
from opmux.benchmarks.protocol import Message
from opmux.benchmarks.report import summary, targets
from opmux.benchmarks.run import QUICK, Request
from opmux.benchmarks.suites import SUITES, Suite, Target
from opmux.benchmarks.table import show
from opmux.benchmarks.worker import Worker
from opmux.core.plugins.status import BackendStatus, State
from tests.backends.cuda.fake_cupy import FakeCuda, Gpu, installed
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime

GPU = SUITES["gpu"]


def by_clock(work: Callable[[], None]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


class InProcess:
    """A worker without its process."""

    def __init__(self, peer: Peer) -> None:
        self.worker = Worker(peer)

    def hello(self) -> dict[str, str]:
        versions: dict[str, str] = self.worker.answer({"do": "hello"})[0]["versions"]
        return versions

    def prepare(self, case: Case, seed: int) -> Message:
        return self.worker.answer({"do": "prepare", "case": case.to_data(), "seed": seed})[0]

    def calibrate(self, seconds: float, most: int) -> tuple[int, float]:
        return 1, 1.0  # the pretended GPU is slow: one call per sample

    def run(self, repetitions: int) -> float:
        return float(self.worker.answer({"do": "run", "repetitions": repetitions})[0]["seconds"])

    def result(self) -> NDArray[Any]:
        answer, payload = self.worker.answer({"do": "result"})
        return np.frombuffer(payload, np.dtype(answer["dtype"])).reshape(answer["shape"])


@pytest.fixture
def opmux_on_gpu() -> Iterator[InProcess]:
    from opmux.benchmarks.peers.gpu_opmux import on

    with registered(OnHost(HostRuntime(blas=True))), ox.policy(backends="cuda"):
        made = on(ox.device("cuda:0"), by_clock, 1 << 12, {})
        yield InProcess(dataclasses.replace(made, loaded=False))


@pytest.mark.parametrize(
    "start", ["exp", "chain f32 4096", "sum f32 4096", "softmax", "layer_norm", "matmul bf", "matmul i8", "add f32 8"]
)
def test_quick_cases_are_right_on_a_pretended_gpu(opmux_on_gpu: InProcess, start: str) -> None:
    case = next(c for c in GPU.cases(True) if c.name.startswith(start))
    outcome = measure_case(case, ["opmux-cuda"], lambda name: opmux_on_gpu, QUICK)["opmux-cuda"]
    assert (outcome.status, outcome.note) == ("measured", "")
    assert outcome.samples
    assert "cuda/" in outcome.detail


@pytest.mark.parametrize(("own", "reason"), [(False, None), (True, "feature")])
def test_own_kernels_are_measured_without_the_library(own: bool, reason: str | None) -> None:
    from opmux.benchmarks.peers.gpu_opmux import on

    product, other = (make_case(k, "float32", (64, 64), (64, 64), limit="device flops") for k in ("matmul", "add"))
    no_clocks = mock.patch.object(gpu, "state", return_value={})
    with registered(OnHost(HostRuntime(blas=True))), no_clocks, ox.policy(backends="cuda"):
        peer = InProcess(on(ox.device("cuda:0"), by_clock, 1 << 12, {}, own=own))
        x = ox.asarray(np.ones((64, 64), np.float32), device="cuda:0")
        rows = {row.candidate: row.reason for row in ox.explain(ox.matmul, x, x).rows}
        assert rows["cuda/matmul.cublas"] == reason
        assert peer.prepare(product, 1)["detail"].endswith("clocks not readable")
        with pytest.raises(UnsupportedCaseError, match="matrix products alone") if own else nullcontext():
            peer.prepare(other, 1)


class Copies:
    """A probe that copies host memory."""

    def versions(self) -> dict[str, str]:
        return {}

    def prepare(self, case: Case, stored: tuple[NDArray[Any], ...], as_given: AsGiven) -> Launches:
        work = case.bytes if case.limit == "device copy" else None
        return Launches(np.copyto, [(np.zeros(8), np.ones(8))], by_clock, np.asarray, "copied", work)


def test_whole_run_has_the_documented_form(
    opmux_on_gpu: InProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workers = {"opmux-cuda": opmux_on_gpu, PROBE: InProcess(Copies())}
    opened = SimpleNamespace(peers=("opmux-cuda", "cupy"), worker=workers.__getitem__)
    monkeypatch.setattr(run_module, "pool", lambda peers, timeout: nullcontext(opened))
    monkeypatch.setattr(run_module, "missing", lambda name: "cupy is not installed" if name == "cupy" else None)
    made = run_module.run(Request(GPU, opened.peers, QUICK, quick=True, only="add f32"), lambda *seen: None)
    show(made)
    shown = capsys.readouterr().out
    assert made["probes"] == []
    by_case = {row["case"]: row for row in made["summary"] if row["peer"] == "opmux-cuda"}
    assert by_case["add f32 4096"]["share"]["paired"] > 0
    assert by_case["add f32 8"]["rate"] is None
    assert "cupy: missing: cupy is not installed" in shown
    assert shown.count("not measured") == len(GPU.targets)


class Events:
    """CUDA's events with time, over a recorder of streams; what is timed lasts 2 ms."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, int]] = []

    def into(self, monkeypatch: pytest.MonkeyPatch, runtime: Any) -> None:
        names = iter(("start", "stop"))
        given = {
            "eventCreate": lambda: next(names),
            "eventRecord": lambda event, stream: self.recorded.append((event, stream)),
            "eventSynchronize": lambda event: self.recorded.append((f"wait for {event}", 0)),
            "eventElapsedTime": lambda start, stop: 2.0,
            "deviceGetPCIBusId": lambda device: "0000:00:00.0",
        }
        for name, function in given.items():
            monkeypatch.setattr(runtime, name, function, raising=False)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[Events]:
    """CuPy's bindings on a machine that records; nothing is computed."""
    with installed(FakeCuda(Gpu())), registered(cuda_backend):
        from cupy_backends.cuda.api import runtime

        made = Events()
        made.into(monkeypatch, runtime)
        yield made


def test_opmux_is_timed_on_its_own_stream(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    from opmux.benchmarks.peers import gpu_opmux

    case = make_case("add", "float32", (1 << 12,), (1 << 12,), limit="device copy")
    with ExitStack() as policy:
        monkeypatch.setattr(gpu_opmux, "_policy", policy)
        peer = gpu_opmux.peer("cuda")
        made = peer.prepare(case, draw(case, 1), as_given)
        assert made.seconds(3) == pytest.approx(2e-3)
        stream = ox.device("cuda:0").default_queue.handle.handle
    assert events.recorded == [("start", stream), ("stop", stream), ("wait for stop", 0)]
    assert stream != 0
    assert {"device", "CUDA runtime", "CUDA of the driver", "NVRTC"} <= peer.versions().keys()


def test_limit_is_the_copy_of_half_the_bytes_and_tells_the_clocks(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[int] = []

    def memory(n: int, dtype: Any) -> SimpleNamespace:
        return SimpleNamespace(data=SimpleNamespace(ptr=n))

    runtime = SimpleNamespace(memcpyAsync=lambda to, source, nbytes, kind, stream: copied.append(nbytes))
    pool = SimpleNamespace(free_all_blocks=list)
    given: list[NDArray[Any]] = []
    fake = {
        "zeros": memory, "asarray": lambda x: given.append(x) or x, "resize": lambda x, n: memory(n, x.dtype),
        "get_default_memory_pool": lambda: pool,
    }  # fmt: skip
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime), **fake))
    asked: list[tuple[int, str]] = []

    def smi(query: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        asked.append((len(copied), events.recorded[-1][0]))
        if "event_reasons" in query[2]:
            raise subprocess.CalledProcessError(6, query)  # as one that does not know the field
        return subprocess.CompletedProcess([], 0, "580.1, 1980, 2619, 1980, 2619, 698.10, 700.00, 61\n")

    monkeypatch.setattr(subprocess, "run", smi)
    made = device_copy(1000.0)
    assert (made.work, set(copied)) == (1000.0, {500})
    assert made.detail.endswith("SM 1980 MHz, memory 2619 MHz, 698.10 W")
    assert asked == [(len(copied), "start")] * 2  # behind all launches, and before what waits for them
    assert len(np.unique(given[0])) > 100, "what is copied does not vary"


def test_operands_take_turns_within_the_events() -> None:
    seen: list[int] = []
    spans: list[int] = []

    def timed(work: Callable[[], None]) -> float:
        work()
        spans.append(len(seen))
        return 0.5

    made = Launches(seen.append, [(0,), (1,), (2,)], timed, np.asarray)
    assert [made.seconds(2), made.seconds(2)] == [0.5, 0.5]
    assert (seen, spans) == ([0, 1, 2, 0], [2, 4])


def test_small_operands_are_copied_until_they_outgrow_the_cache() -> None:
    put: list[NDArray[Any]] = []

    def copied(x: NDArray[Any]) -> NDArray[Any]:
        put.append(x)
        return x

    peer = gpu.Gpu("p", lambda case, x: (np.add, ""), copied, np.asarray, by_clock, 1 << 20, {}, list)
    case = make_case("add", "float32", (1 << 16,), (1 << 16,), limit="device copy")
    peer.prepare(case, draw(case, 1), as_given)
    assert sum(x.nbytes for x in put) > 2 << 20
    put.clear()
    peer.prepare(dataclasses.replace(case, limit=None), draw(case, 1), as_given)
    assert len(put) == 2


def test_first_calls_are_made_in_other_processes_with_their_own_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[str] = []

    def once(self: FirstCall, folder: str) -> float:
        folders.append(folder)
        return 2.0

    monkeypatch.setattr(FirstCall, "_once", once)
    peer = gpu.Gpu("p", lambda case, x: (np.tanh, ""), lambda x: x, np.asarray, by_clock, 1, {}, list)
    for how in ("cold", "cached"):
        case = make_case("tanh", "float32", (8,), first_call=how)
        made = peer.prepare(case, draw(case, 1), as_given)
        assert made.seconds(2) == 4.0
        assert expected(case, draw(case, 1)).check(made.result()) <= 1
    cold, cached = folders[:2], folders[2:]
    assert len(set(cold)) == 2
    assert len(cached) == 3
    assert len(set(cached)) == 1


def test_first_call_is_timed_by_its_own_process() -> None:
    case = make_case("tanh", "float32", (8,), first_call="cold")
    made = Launches(np.tanh, [draw(case, 1)], by_clock, np.asarray)
    assert 0 < FirstCall("numpy", case, made).seconds(1) < 60
    with pytest.raises(WorkerError, match="no peer 'nobody'"):
        FirstCall("nobody", case, made).seconds(1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_product_that_lacks_a_tile_is_wrong(dtype: str) -> None:
    case = make_case("matmul", dtype, (64, 256), (256, 64), **({"to": "int32"} if dtype == "int8" else {}))
    a, b = draw(case, 1)
    wanted = expected(case, (a, b))
    kept = np.dtype("int32" if dtype == "int8" else dtype)
    wide = np.matmul(a.astype(np.float64), b.astype(np.float64))
    assert wanted.check(wide.astype(kept)) <= 1
    with pytest.raises(WrongResultError, match="elements are wrong"):
        wanted.check((wide - a[:, :16].astype(np.float64) @ b[:16].astype(np.float64)).astype(kept))


CASES = [make_case("add", "float32", (4, n), (4, n), limit="device copy") for n in (4, 8)]


def known(scripted: Callable[..., Any], right: Any) -> list[dict[str, Any]]:
    rows = []
    for case, slower in zip(CASES, (2e-3, 8e-3), strict=True):
        workers = scripted(mine=(right, 1e-3), theirs=(right, slower), probe=(right, 1e-3))
        prepare = workers["probe"].prepare
        workers["probe"].prepare = lambda case, seed, do=prepare: {**do(case, seed), "work": case.bytes / 2}
        rows += summary(case, measure_case(case, list(workers), workers.__getitem__, QUICK))
    return rows


def test_targets_of_several_cases(scripted: Callable[..., Any], right: Any) -> None:
    names = tuple(case.name for case in CASES)
    wanted = (
        Target("least", names, "mine", "theirs", 3.0),
        Target("mean", names, "mine", "theirs", 3.0, "geometric mean"),
        Target("share", names, "mine", PROBE, 1.5),
        Target("one lacks", (*names, "sum"), "mine", "theirs", 0.0),
    )
    found = targets(Suite("s", "t", "GB/s", lambda quick: CASES, wanted), known(scripted, right))
    assert [t["value"] for t in found] == [pytest.approx(2.0), pytest.approx(4.0), pytest.approx(2.0), None]
    assert [t["met"] for t in found] == [False, True, True, False]
    assert "on sum" in found[3]["note"]


def test_every_target_is_about_peers_and_cases_that_exist() -> None:
    assert all({target.peer, target.over} <= PEERS.keys() for target in GPU.targets)
    assert {case for target in GPU.targets for case in target.cases} <= {case.name for case in GPU.cases(False)}


def exact(case: Case, operands: tuple[Any, ...]) -> NDArray[Any]:
    return expected(case, operands).values.astype(np.float32)


@pytest.mark.parametrize(("chain", "met"), [(1e-3, True), (1.25e-3, False)])
def test_no_launch_is_to_be_dearer_than_one_of_cupy(scripted: Callable[..., Any], chain: float, met: bool) -> None:
    rows = []
    for case in (c for c in GPU.cases(False) if c.shapes[0] == (8,) and c.kind in ("add", "exp", "chain")):
        mine = chain if case.kind == "chain" else 0.5e-3
        workers = scripted(**{"opmux-cuda": (exact, mine), "cupy": (exact, 1e-3)})
        rows += summary(case, measure_case(case, list(workers), workers.__getitem__, QUICK))
    (found,) = [t for t in targets(GPU, rows) if t["name"].startswith("cost of a call")]
    assert (found["value"], found["met"]) == (pytest.approx(1e-3 / chain), met)


def test_peers_are_those_of_the_device() -> None:
    assert parse_peers(None, "cuda") == ["opmux-cuda", "opmux-own-cuda", "cupy", "torch-cuda", "torch-compile-cuda"]
    assert "cupy" not in parse_peers(None)


def test_without_a_gpu_one_line_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    absent = BackendStatus("cuda", "", "", State.ABSENT_HARDWARE, reason="no device was found", remedy="buy one")
    monkeypatch.setattr(devices, "DEVICES", ())
    monkeypatch.setattr(devices.manager, "status", lambda: [absent])
    assert main(["gpu", "--quick"]) == 2
    captured = capfd.readouterr()
    assert captured.err == "error: DeviceMissingError: cuda is absent-hardware: no device was found; buy one\n"
    assert captured.out == ""


def test_copy_of_a_device_needs_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(PeerUnavailableError, match="CuPy"):
        device_copy(1024)
