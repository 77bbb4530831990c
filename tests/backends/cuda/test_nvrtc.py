"""The compiler: what it makes, what it refuses, what it remembers, and what is said where there is none."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from opmux.backends.cuda.compiling import nvrtc
from opmux.backends.cuda.compiling.cubin import resources
from opmux.backends.cuda.compiling.nvrtc import NvrtcCompiler
from opmux.backends.cuda.compiling.targets import TARGETS
from opmux.backends.cuda.device.runtime import CudaError
from opmux.core.errors import DeviceError
from opmux.core.filecache import FileCache
from tests.backends.cuda.forked import in_child

KERNEL = 'extern "C" __global__ void twice(f32* p, f32 x) { p[0] = x * 2.0f + p[1]; }'


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cubins", 1 << 20)


def test_products_and_sums_are_not_contracted() -> None:
    text = 'extern "C" __global__ void f(float* p) { p[0] = p[1] * p[2] + p[3]; }'
    apart = text.replace("p[1] * p[2] + p[3]", "__fadd_rn(__fmul_rn(p[1], p[2]), p[3])")
    fused = text.replace("p[1] * p[2] + p[3]", "fmaf(p[1], p[2], p[3])")
    code, code_apart, code_fused = (nvrtc.compiled(t, TARGETS["sm_80"]).image for t in (text, apart, fused))
    assert code == code_apart
    assert code != code_fused


def test_a_compile_error_brings_the_compilers_words_and_the_target() -> None:
    with pytest.raises(CudaError, match=r"NVRTC_ERROR_COMPILATION: for sm_90a: .*\"nowhere\" is undefined") as caught:
        NvrtcCompiler(TARGETS["sm_90a"]).image("__global__ void f(int* p) { p[0] = nowhere; }", ())
    assert not caught.value.sticky


def test_what_was_compiled_is_read_and_not_made_again(cache: FileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    made = NvrtcCompiler(TARGETS["sm_80"], cache).image(KERNEL, ())
    monkeypatch.setattr(nvrtc, "compiled", None)
    assert NvrtcCompiler(TARGETS["sm_80"], cache).image(KERNEL, ()) == made
    assert cache.statistics.hits == 1


@pytest.mark.parametrize("change", ["text", "target", "version", "flags"])
def test_every_part_of_the_key_counts(cache: FileCache, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    NvrtcCompiler(TARGETS["sm_80"], cache).image(KERNEL, ())
    if change == "version":
        monkeypatch.setattr(nvrtc, "version", lambda: (99, 0))
    if change == "flags":
        monkeypatch.setattr(nvrtc, "FLAGS", (*nvrtc.FLAGS, "-lineinfo"))
    target = TARGETS["sm_86" if change == "target" else "sm_80"]
    NvrtcCompiler(target, cache).image(KERNEL + "\n" * (change == "text"), ())
    assert (cache.statistics.hits, cache.statistics.writes) == (0, 2)


def test_a_spoiled_file_is_compiled_again(cache: FileCache) -> None:
    made = NvrtcCompiler(TARGETS["sm_80"], cache).image(KERNEL, ())
    (path,) = cache.directory.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert NvrtcCompiler(TARGETS["sm_80"], cache).image(KERNEL, ()) == made
    assert cache.statistics.corrupt == 1


def test_the_package_to_install_is_named_where_there_is_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "_folders", list)
    monkeypatch.setattr(nvrtc.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(DeviceError, match=r"pip install 'opmux\[cuda\]'"):
        nvrtc.library_path()


def test_a_child_forked_while_another_thread_compiles_compiles_too() -> None:
    text = KERNEL.replace("twice", "forked")
    busy = threading.Thread(target=lambda: [nvrtc.compiled(_unit(i), TARGETS["sm_80"]) for i in range(4)])
    busy.start()
    try:
        assert in_child(lambda: list(resources(NvrtcCompiler(TARGETS["sm_80"]).image(text, ())))) == "['forked']"
    finally:
        busy.join()


def _unit(i: int) -> str:
    return f'extern "C" __global__ void f{i}(double* p) {{ p[0] = p[1] / p[{i}]; }}'
