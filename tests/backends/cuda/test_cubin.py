"""What kernels need of a multiprocessor: read rightly from cubins, and no more than it was."""

from __future__ import annotations

import re

import pytest

from opmux.backends.cuda.cubin import Resources, resources
from opmux.backends.cuda.nvrtc import compiled
from opmux.backends.cuda.targets import TARGETS
from tests.backends.cuda.resources import families, kept, measured, worse

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


#: Whose code takes minutes to compile for all targets.
SLOW = {"calls"}


@pytest.mark.parametrize("family", [pytest.param(f, marks=pytest.mark.slow) if f in SLOW else f for f in families()])
def test_kernels_need_no_more_than_the_table_says(family: str) -> None:
    by, before = kept()
    now = measured(family)
    assert "\n".join(worse(before, now, by)) == ""
    assert {name for name in before if name.startswith(f"{family}: ")} == now.keys(), "rows of kernels that are gone"


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (Resources(46, 0, 100), ""),
        (Resources(47, 0, 100), "registers 40 -> 47"),
        (Resources(40, 4, 100), "local 0 -> 4"),
        (Resources(40, 0, 200), "shared 100 -> 200"),
    ],
)
def test_growth_is_told_with_kernel_target_figures_and_how_to_accept(needs: Resources, said: str) -> None:
    told = "".join(worse({"f: k": {"sm_80": Resources(40, 0, 100)}}, {"f: k": {"sm_80": needs}}, "13.0"))
    assert said in told
    assert bool(told) is bool(said)
    if said:
        assert "f: k on sm_80" in told
        assert "13.0" in told
        assert "--write" in told


def test_a_kernel_that_the_table_has_not_is_told() -> None:
    assert "not in table.json" in worse({}, {"f: k": {"sm_80": Resources(1, 0, 0)}}, "13.0")[0]
