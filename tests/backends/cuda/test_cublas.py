"""cuBLAS: products are asked for as they lie, by the C interface's rules, and without the library others do them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import opmux as ox
from opmux.backends import cuda as plugin
from opmux.backends.cuda.device import cublas
from opmux.backends.cuda.device.runtime import CudaError, Gemm
from opmux.backends.cuda.products.cublas_kernels import gemm_of, starts
from opmux.backends.cuda.products.matmul import problem_of
from opmux.conformance.target import targets
from opmux.core.arrays.array import Array
from opmux.core.dispatch.candidates import ready
from opmux.core.dispatch.decision import Candidate
from opmux.core.errors import KernelError, OutOfMemoryError, UnsupportedError
from opmux.core.op import OPS
from opmux.plugin import Nest, Rejection
from tests.backends.cuda.fake_cupy import FakeCublas, FakeCuda, Gpu, installed
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime


@pytest.fixture
def host() -> Iterator[HostRuntime]:
    """A GPU on the host, with cuBLAS."""
    runtime = HostRuntime(blas=True)
    with registered(OnHost(runtime)):
        yield runtime


@pytest.fixture
def blas() -> Iterator[FakeCublas]:
    """One GPU with cuBLAS, its calls held to the rules."""
    cuda = FakeCuda(Gpu(memory=1 << 40), Gpu())
    library = FakeCublas(cuda)
    with installed(cuda, cublas=library), registered(plugin):
        yield library
    assert library.misuse == []


def small(shape: tuple[int, ...], dtype: str, seed: int = 1) -> np.ndarray:
    """Integers, whose products and sums are exact in any order."""
    given = np.random.default_rng(seed).integers(-8, 9, (2, *shape))
    if dtype.startswith("complex"):
        return (given[0] + 1j * given[1]).astype(dtype)
    return given[0].astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def put(x: np.ndarray) -> Array:
    return ox.asarray(x, device="cuda:0")


def candidate(a: Array, b: Array, dtype: object = None) -> Candidate:
    """Return the candidate of cuBLAS, ready or refused, whichever the dispatcher would choose."""
    decision = targets("cuda")[0].decide(OPS["matmul"], [a, b], {"dtype": dtype})
    return ready(next(c for c in decision.candidates if c.name == "cuda/matmul.cublas"))


def by_cublas(a: Array, b: Array, dtype: object = None) -> np.ndarray:
    run = candidate(a, b, dtype).run
    assert run is not None
    return run([a, b], None)[0].numpy()


@pytest.mark.parametrize(("of", "into"), cublas.ARITHMETIC)
def test_every_arithmetic_gives_the_product(host: HostRuntime, of: str, into: str) -> None:
    a, b = small((12, 8), of), small((8, 20), of, 2)
    found = by_cublas(put(a), put(b), getattr(ox, into))
    wide = complex if of.startswith("complex") else float
    assert found.dtype == getattr(ox, into).numpy
    assert (found.astype(wide) == a.astype(wide) @ b.astype(wide)).all()
    assert host.launches == ["gemm"]


@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 7, 3), (5, 1, 3), (5, 7, 1), (1, 1, 1)], ids=str)
def test_rows_and_columns_are_read_where_they_lie(host: HostRuntime, turned: str, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    a, b = small((m, k + 2), "float32"), small((k, n + 3), "float32", 2)
    x = put(np.ascontiguousarray(a.T)).T[:, :k] if "a" in turned else put(a)[:, :k]
    y = put(np.ascontiguousarray(b.T)).T[:, :n] if "b" in turned else put(b)[:, :n]
    host.launches.clear()
    assert (by_cublas(x, y) == a[:, :k] @ b[:, :n]).all()
    assert host.launches == ["gemm"]


def test_a_batch_of_one_stride_is_one_call_and_others_are_several(host: HostRuntime) -> None:
    a, b = small((3, 2, 4, 5), "float32"), small((3, 1, 5, 6), "float32", 2)
    y = ox.broadcast_to(put(b), (3, 2, 5, 6))
    assert (by_cublas(put(a), y) == a @ b).all()
    assert host.launches == ["gemm"] * 1
    x = put(np.ascontiguousarray(a.swapaxes(0, 1)))
    host.launches.clear()
    assert (by_cublas(ox.permute_dims(x, (1, 0, 2, 3)), ox.broadcast_to(put(b[:1]), (3, 2, 5, 6))) == a @ b[:1]).all()
    assert host.launches == ["gemm"] * 3


def test_what_lies_in_no_order_of_cublas_is_refused() -> None:
    for a, b in (((0, 1), (3, 1)), ((10, 2), (3, 1)), ((2, 1), (3, 1)), ((-5, 1), (3, 1)), ((5, 1), (3, -1))):
        found = gemm_of(problem_of((4, 3, 5), a, b), ("float32", "float32"))
        assert isinstance(found, Rejection), (a, b)
        assert "dense" in found.detail


def test_batches_begin_where_their_strides_say() -> None:
    assert starts(Nest((2, 2, 9), ((100, 10, 1), (0, 7, 1), (40, 20, 1)))) == [
        (0, 0, 0), (10, 7, 20), (100, 0, 40), (110, 7, 60),
    ]  # fmt: skip


def test_int8_that_lies_askew_and_no_terms_are_left_to_others(host: HostRuntime) -> None:
    none = put(np.ones((3, 0), np.float32)), put(np.ones((0, 2), np.float32))
    a, b = put(small((8, 8), "int8")), put(small((8, 8), "int8"))
    askew = put(small((4, 6), "int8")), put(small((6, 8), "int8"))
    for x, y, said in (
        (*askew, "multiples of 4"),
        (a[:, :6], b[:6], "as many terms"),
        (a, b[:, :6], "and results"),
        (*none, "no terms"),
    ):
        found = candidate(x, y, ox.int32 if said != "no terms" else None)
        assert found.rejection is not None
        assert said in found.rejection.detail


def test_the_table_shows_both_and_classes_that_it_does_not_promise(host: HostRuntime) -> None:
    a = put(small((64, 64), "float32"))
    table = str(ox.explain(ox.matmul, a, a))
    assert "cuda/matmul.cublas" in table
    with (
        ox.policy(determinism="threads", claims="declared"),
        pytest.raises(UnsupportedError, match=r"matmul.cublas: determinism \(it promises run; threads is demanded"),
    ):
        ox.matmul(a, a)


def test_without_the_library_the_table_says_how_to_get_it_and_another_kernel_is_taken() -> None:
    with registered(OnHost(HostRuntime())):
        a = put(small((1024, 1024), "float32"))
        found = ox.explain(ox.matmul, a, a)
        lacks = ox.device("cuda:0").info.lacks()
        few = ox.explain(ox.matmul, a[:1], a)  # where cuBLAS would not be the cheapest
    assert found.chosen == "cuda/matmul"
    for table in (str(found), str(few)):
        assert "pip install nvidia-cublas" in table
        assert "cublas would be chosen" not in table
    assert lacks == ("cuBLAS is not found: pip install nvidia-cublas",)


def test_the_library_gets_its_arguments_by_the_c_interface(blas: FakeCublas) -> None:
    a, b = put(small((2, 6, 5), "float16")), put(small((2, 5, 9), "float16"))
    by_cublas(a, b, ox.float32)
    (product,) = blas.products
    assert (product.transposed, product.extents, product.types) == ((0, 0), (9, 6, 5), (2, 2, 0))
    assert (product.leading, product.strides, product.count) == ((9, 5, 9), (45, 30, 54), 2)
    assert (product.compute, product.factors, product.workspace) == (68, (1, 0), 32 << 20)


def test_lengths_beyond_2_to_the_31_arrive_whole(blas: FakeCublas) -> None:
    n = 2**33 + 4
    a = ox.full((1, 2), 1.0, dtype=ox.float32, device="cuda:0")
    b = ox.full((2, n), 1.0, dtype=ox.float32, device="cuda:0")
    runtime = ox.device("cuda:0").driver.runtime
    product = gemm_of(problem_of((1, n, 2), a.strides, b.strides), ("float32", "float32"))
    c = ox.full((1, n), 0.0, dtype=ox.float32, device="cuda:0")
    workspace = ox.full((1 << 20,), 0, dtype=ox.uint8, device="cuda:0")
    runtime.gemm(product, b.ptr, a.ptr, c.ptr, (workspace.ptr, 1 << 20), ox.device("cuda:0").default_queue.handle)
    assert blas.products[-1].extents == (n, 1, 2)
    assert blas.products[-1].leading == (n, 2, n)


def test_a_handle_serves_one_call_at_a_time_and_is_kept(blas: FakeCublas) -> None:
    a, device = put(small((8, 8), "float64")), ox.device("cuda:0")
    run = candidate(a, a).run
    assert run is not None

    def work(queue: object) -> None:
        with ox.use_queue(queue):
            for _ in range(20):
                run([a, a], None)

    threads = [threading.Thread(target=work, args=(device.queue(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(blas.products) == 60
    assert len({p.stream for p in blas.products}) == 3
    assert len(blas.handles) <= 3


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [(14, KernelError, "CUBLAS_STATUS_INTERNAL_ERROR"), (3, OutOfMemoryError, "cuBLAS has none left")],
)
def test_what_cublas_refuses_is_typed_and_the_next_call_works(
    blas: FakeCublas, status: int, error: type[Exception], said: str
) -> None:
    a = put(small((8, 8), "float32"))
    by_cublas(a, a)
    blas.cuda.failures["cublasGemmEx_64"] = deque([status])
    with pytest.raises(error, match=said):
        by_cublas(a, a)
    assert by_cublas(a, a).shape == (8, 8)
    assert len(blas.handles) == 1


class Declining(HostRuntime):
    """A GPU whose cuBLAS has no kernel for the second product of a call, and none from then on."""

    asked = 0

    def gemm(self, product: Gemm, *rest: Any) -> None:
        self.asked += 1
        if self.asked > 1:
            raise CudaError("CUBLAS_STATUS_NOT_SUPPORTED", "reported by cuBLAS")
        super().gemm(product, *rest)


@pytest.mark.parametrize(
    ("dtype", "kernel"), [("float32", "matmul"), ("bfloat16", "mma"), ("complex64", "complex"), ("int8", "mma")]
)
def test_what_cublas_declines_is_done_by_another_kernel_and_told_once(
    dtype: str, kernel: str, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = Declining(blas=True)
    a, b = small((2, 2, 4, 8), dtype), small((2, 2, 8, 4), dtype, 2)
    with registered(OnHost(runtime)), caplog.at_level("WARNING", "opmux"):
        x = ox.permute_dims(put(np.ascontiguousarray(a.swapaxes(0, 1))), (1, 0, 2, 3))
        run = candidate(x, put(b), "int32" if dtype == "int8" else None).run
        assert run is not None
        for _ in range(2):
            found = run([x, put(b)], None)[0].numpy()
            wide = complex if dtype.startswith("complex") else float
            assert (found.astype(wide) == a.astype(wide) @ b.astype(wide)).all()
    assert runtime.asked == 2, "cuBLAS is asked again"
    assert [kernel in r.message and "CUBLAS_STATUS_NOT_SUPPORTED" in r.message for r in caplog.records] == [True]


def test_what_cublas_declines_is_captured_as_another_kernel(blas: FakeCublas) -> None:
    blas.cuda.gives_again = True
    blas.cuda.failures["cublasGemmEx_64"] = deque([15])
    f, x = ox.compile(lambda v: ox.matmul(ox.sort(v), v)), put(small((2048, 2048), "float32"))
    for _ in range(6):
        f(x)
    assert "graphLaunch" in blas.cuda.calls
    assert blas.cuda.calls.count("cublasGemmEx_64") == 1
    assert blas.products == []


def test_a_library_that_cannot_be_started_is_told_and_another_kernel_is_taken(blas: FakeCublas) -> None:
    blas.cuda.failures["cublasCreate_v2"] = deque([1, 1])
    a = put(small((1024, 1024), "float32"))
    found = ox.explain(ox.matmul, a, a)
    assert found.chosen == "cuda/matmul"
    assert "cuBLAS cannot be started: CUBLAS_STATUS_NOT_INITIALIZED" in str(found)
    assert ox.matmul(a, a).shape == (1024, 1024)


def test_a_handle_is_made_also_while_somebody_else_captures(blas: FakeCublas) -> None:
    library = cublas.find()
    assert isinstance(library, cublas.Cublas)
    blas.cuda.captured_elsewhere = True
    library.start()
    assert len(blas.handles) == 1


def test_a_library_that_is_too_old_is_told() -> None:
    class Old:
        def __getattr__(self, name: str) -> object:
            if name.endswith("_64"):
                raise AttributeError(f"undefined symbol: {name}")
            return type(self)()

    with pytest.raises(AttributeError, match="_64"):
        cublas.Cublas(Old())
