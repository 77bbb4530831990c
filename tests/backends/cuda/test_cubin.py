"""What kernels need of a multiprocessor, read rightly from cubins."""

from __future__ import annotations

import re

import pytest

from opmux.backends.cuda.compiling.cubin import Resources, resources
from opmux.backends.cuda.compiling.nvrtc import compiled
from opmux.backends.cuda.compiling.targets import TARGETS

#: A kernel with static and dynamic shared memory, one with an array in local memory, one whose callee has that.
TEXT = """
extern "C" __global__ void sharing(float* p, int n) {
    extern __shared__ __align__(1024) unsigned char d[];
    __shared__ double q[3];
    q[threadIdx.x % 3] = p[0]; d[threadIdx.x] = n;
    __syncthreads();
    p[n] = d[n] + q[n % 3];
}
extern "C" __global__ void local(float* p, int n) {
    float a[64];
    for (int i = 0; i < 64; ++i) a[i] = p[i];
    for (int i = 0; i < n; ++i) a[(i * 7 + n) & 63] += p[i];
    p[n] = a[n & 63];
}
__device__ __noinline__ float callee(float* p, int n) {
    float a[32];
    for (int i = 0; i < 32; ++i) a[i] = p[i];
    for (int i = 0; i < n; ++i) a[(i * 7 + n) & 31] += p[i];
    return a[n & 31];
}
extern "C" __global__ void calling(float* p, int n) { p[1] = callee(p, n); }
"""


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_figures_are_those_that_the_assembler_prints(target) -> None:
    made = compiled(TEXT, target, ["--ptxas-options=-v"])
    printed = {}
    for name, rest in re.findall(r"Compiling entry function '(\w+)'(.*?Used [^\n]*)", made.log, re.S):
        figures = (re.search(p, rest) for p in (r"Used (\d+) reg", r"(\d+) bytes cumulative", r"(\d+) bytes smem"))
        printed[name] = Resources(*(int(m.group(1)) if m else 0 for m in figures))
    assert resources(made.image) == printed
    assert printed["calling"].local == 128
    assert printed["local"].local == 256
    assert printed["sharing"].shared >= 24


def test_what_is_no_cubin_is_refused() -> None:
    with pytest.raises(ValueError, match="not a cubin"):
        resources(b"//\n.version 9.0\n")
