"""Collectives through NCCL: its rules are kept, values arrive, and what it cannot do is done without it."""

from __future__ import annotations

import gc
import sys
import threading
from collections import deque
from collections.abc import Iterator

import pytest

import opmux as ox
from opmux.backends import cuda as plugin
from opmux.core.errors import CollectiveError
from tests.backends.cuda.fake_cupy import FakeCuda, Gpu, MisuseError, NcclError, installed
from tests.backends.cuda.host.plugin import registered

DEVICES = ("cuda:0", "cuda:1", "cuda:2")
NUMBERS = (
    ox.int8, ox.uint8, ox.int32, ox.uint32, ox.int64, ox.uint64, ox.float16, ox.bfloat16, ox.float32, ox.float64
)  # fmt: skip


@pytest.fixture
def cuda() -> Iterator[FakeCuda]:
    """Three GPUs, with NCCL."""
    with installed(FakeCuda(Gpu(), Gpu(), Gpu()), nccl=True) as machine, registered(plugin):
        yield machine


def given(*values: list[object], dtype: ox.DType = ox.float32) -> list[ox.Array]:
    """Return one array per rank."""
    return [ox.asarray(v, dtype=dtype, device=DEVICES[i]) for i, v in enumerate(values)]


def mesh(ranks: int) -> ox.Mesh:
    return ox.Mesh(list(DEVICES[:ranks]))


def test_all_reduce_goes_through_nccl(cuda: FakeCuda) -> None:
    arrays = given([1, 2], [10, 20], [100, 200])
    made = ox.all_reduce(arrays, mesh(3))
    assert [y.device.name for y in made] == list(DEVICES)
    assert [y.tolist() for y in made] == [[111.0, 222.0]] * 3
    assert cuda.calls.count("allReduce") == 3
    assert "memcpyPeerAsync" not in cuda.calls
    assert ox.explain("all_reduce", arrays, mesh(3)).chosen == "cuda/all_reduce.nccl"


@pytest.mark.parametrize("reduction", ["sum", "prod"])
@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_every_dtype_that_nccl_has_is_combined_as_such(cuda: FakeCuda, dtype: ox.DType, reduction: str) -> None:
    arrays = given([1, 2, 3], [4, 5, 6], dtype=dtype)
    made = ox.all_reduce(arrays, mesh(2), reduction=reduction)
    wanted = {"sum": [5, 7, 9], "prod": [4, 10, 18]}[reduction]
    assert [y.tolist() for y in made] == [wanted] * 2
    assert cuda.calls.count("allReduce") == 2


@pytest.mark.parametrize(("reduction", "wanted"), [("min", [-3, 2]), ("max", [1, 5])])
def test_integers_have_a_minimum_and_a_maximum(cuda: FakeCuda, reduction: str, wanted: list[int]) -> None:
    made = ox.all_reduce(given([1, 2], [-3, 5], dtype=ox.int32), mesh(2), reduction=reduction)
    assert made[1].tolist() == wanted
    assert cuda.calls.count("allReduce") == 2


def test_reduce_scatter_gives_each_rank_its_part(cuda: FakeCuda) -> None:
    made = ox.reduce_scatter(given([1, 2, 3, 4], [10, 20, 30, 40]), mesh(2))
    assert [y.tolist() for y in made] == [[11.0, 22.0], [33.0, 44.0]]
    assert cuda.calls.count("reduceScatter") == 2


def test_all_gather_joins_any_dtype(cuda: FakeCuda) -> None:
    made = ox.all_gather(given([1j], [2.0], [3.0], dtype=ox.complex64), mesh(3))
    assert [y.tolist() for y in made] == [[1j, 2, 3]] * 3
    assert cuda.calls.count("allGather") == 3


def test_parts_of_uneven_length_are_sent_by_each_rank(cuda: FakeCuda) -> None:
    made = ox.all_gather(given([1, 2], [], [3]), mesh(3))
    assert [y.tolist() for y in made] == [[1.0, 2.0, 3.0]] * 3
    assert cuda.calls.count("broadcast") == 6  # for two ranks that have something, from each of three


def test_broadcast_gives_what_the_root_has(cuda: FakeCuda) -> None:
    made = ox.broadcast(given([True, False], [False, False], dtype=ox.bool), mesh(2), root=0)
    assert made[1].tolist() == [True, False]
    assert cuda.calls.count("broadcast") == 2


def test_ranks_may_be_in_any_order_and_communicators_are_kept(cuda: FakeCuda) -> None:
    turned = ox.Mesh(["cuda:2", "cuda:0"])
    arrays = [ox.asarray([float(i)], device=d) for i, d in enumerate(("cuda:2", "cuda:0"))]
    for _ in range(3):
        assert ox.all_gather(arrays, turned)[1].tolist() == [0.0, 1.0]
    assert ox.all_gather(given([5], [6]), mesh(2))[0].tolist() == [5.0, 6.0]
    assert cuda.calls.count("initAll") == 2


def test_memory_is_used_in_order_before_and_after(cuda: FakeCuda) -> None:
    x = given([1] * 8, [2] * 8)
    for _ in range(5):  # memory that is freed or used too early is a misuse that the machine reports
        y = ox.all_reduce(x, mesh(2))
        x = [a.to_device(d) for a, d in zip(reversed(y), DEVICES, strict=False)]
        del y
        gc.collect()
    assert x[0].tolist() == [48.0] * 8


def test_work_of_other_queues_is_waited_for(cuda: FakeCuda) -> None:
    queue = ox.device("cuda:1").queue()
    with ox.use_queue(queue):
        there = ox.asarray([2.0], device="cuda:1")
        made = ox.all_reduce([ox.asarray([1.0], device="cuda:0"), there], mesh(2))
        again = ox.all_reduce(made, mesh(2))
    assert again[1].tolist() == [6.0]


def refusal(reduction: str, arrays: list[ox.Array]) -> tuple[str | None, str]:
    """Return the code and the words of why NCCL does not do a reduction."""
    shown = ox.explain("all_reduce", arrays, mesh(len(arrays)), reduction=reduction)
    (row,) = [r for r in shown.rows if r.candidate == "cuda/all_reduce.nccl"]
    assert shown.chosen != row.candidate
    return row.reason, row.detail


def test_canonical_sums_go_over_copies_from_gpu_to_gpu(cuda: FakeCuda) -> None:
    arrays = given([1], [2])
    with ox.policy(determinism="canonical"):
        assert refusal("sum", arrays)[0] == "determinism"
        ox.all_reduce(arrays, mesh(2))
        assert (cuda.calls.count("allReduce"), cuda.calls.count("memcpyPeerAsync") > 0) == (0, True)
        integers = given([1], [2], dtype=ox.int32)
        assert ox.explain("all_reduce", integers, mesh(2)).chosen == "cuda/all_reduce.nccl"  # their bits are settled
    with ox.policy(determinism="run"):
        assert refusal("sum", arrays)[0] == "determinism"


@pytest.mark.parametrize(
    ("reduction", "dtype", "ranks", "words"),
    [
        ("max", ox.float32, 2, "keeps nan"),
        ("sum", ox.bfloat16, 3, "rounds to bfloat16"),
        ("sum", ox.int16, 2, "int16"),
        ("or", ox.int32, 2, "reduction=or"),
    ],
)
def test_what_nccl_would_do_otherwise_is_done_without_it(
    cuda: FakeCuda, reduction: str, dtype: ox.DType, ranks: int, words: str
) -> None:
    arrays = given(*[[i] for i in range(ranks)], dtype=dtype)
    assert words in refusal(reduction, arrays)[1]


def test_uneven_parts_of_a_reduction_are_made_without_nccl(cuda: FakeCuda) -> None:
    shown = ox.explain("reduce_scatter", given([1, 2, 3], [1, 2, 3]), mesh(2))
    assert "uneven" in next(r.detail for r in shown.rows if r.candidate == "cuda/reduce_scatter.nccl")


def test_one_gpu_needs_no_nccl(cuda: FakeCuda) -> None:
    assert refusal("sum", given([1]))[0] == "declined"


def test_without_nccl_the_message_says_how_to_get_it() -> None:
    with installed(FakeCuda(Gpu(), Gpu())), registered(plugin):
        reason, words = refusal("sum", given([1], [2]))
        assert (reason, words.endswith("pip install nvidia-nccl-cu13")) == ("feature", True)


def test_a_failure_gives_the_communicators_up_and_the_next_call_makes_new_ones(cuda: FakeCuda) -> None:
    arrays, two = given([1], [2]), mesh(2)
    cuda.failures["groupEnd"] = deque([0, 3])
    ox.all_reduce(arrays, two)
    with pytest.raises(CollectiveError, match=r"all_reduce over cuda:0, cuda:1 .* NCCL_ERROR_INTERNAL_ERROR"):
        ox.all_reduce(arrays, two)
    assert cuda.calls.count("abort") == 2
    with ox.policy(pins={"all_reduce": "direct"}):  # what the message advises
        assert ox.explain("all_reduce", arrays, two).chosen == "direct"
    assert ox.all_reduce(arrays, two)[0].tolist() == [3.0]
    assert cuda.calls.count("initAll") == 2


@pytest.mark.parametrize("call", ["initAll", "allReduce", "check_async_error"])
def test_every_call_may_fail(cuda: FakeCuda, call: str) -> None:
    arrays = given([1], [2])
    cuda.failures[call] = deque([1])
    with pytest.raises(CollectiveError, match="UNHANDLED_CUDA_ERROR"):
        ox.all_reduce(arrays, mesh(2))
    assert ox.all_reduce(arrays, mesh(2))[1].tolist() == [3.0]


def test_the_loss_of_another_ranks_gpu_is_not_the_first_ones(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = given([1], [2])

    def lose() -> None:
        cuda.gpus[1].lost = 719
        raise NcclError(1)

    monkeypatch.setattr(sys.modules["cupy_backends.cuda.libs.nccl"], "groupStart", lose)
    with pytest.raises(CollectiveError, match=r"rank 1, on cuda:1, is gone") as told:
        ox.all_reduce(arrays, mesh(2))
    assert (told.value.rank, told.value.cause) == (1, "died")
    assert arrays[0].tolist() == [1.0]


def test_the_fake_refuses_a_rank_that_is_left_out(cuda: FakeCuda) -> None:
    nccl = sys.modules["cupy_backends.cuda.libs.nccl"]
    one, _ = nccl.NcclCommunicator.initAll([0, 1])
    nccl.groupStart()
    one.allReduce(0, 0, 1, nccl.NCCL_FLOAT32, nccl.NCCL_SUM, 0)
    with pytest.raises(MisuseError, match="a rank of the group is missing"):
        nccl.groupEnd()
    with pytest.raises(MisuseError, match="outside of a group"):
        one.allReduce(0, 0, 1, nccl.NCCL_FLOAT32, nccl.NCCL_SUM, 0)


def test_threads_take_turns(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    nccl = sys.modules["cupy_backends.cuda.libs.nccl"]
    inside, released, start = threading.Event(), threading.Event(), nccl.groupStart
    results: list[float] = []

    def slow_start() -> None:
        start()  # a group within another one is a misuse
        inside.set()
        released.wait(10)

    def reduce(values: tuple[float, float], two: ox.Mesh) -> None:
        arrays = [ox.asarray([v], device=d) for v, d in zip(values, two.local_devices, strict=True)]
        results.append(ox.all_reduce(arrays, two)[0].item())

    monkeypatch.setattr(nccl, "groupStart", slow_start)
    first = threading.Thread(target=reduce, args=((1.0, 2.0), mesh(2)))
    second = threading.Thread(target=reduce, args=((10.0, 20.0), ox.Mesh(["cuda:1", "cuda:2"])))
    first.start()
    assert inside.wait(10)
    second.start()
    second.join(0.2)
    released.set()
    first.join(10)
    second.join(10)
    assert sorted(results) == [3.0, 30.0]
