"""Measure what the cost terms of the kernels on ``cpu`` say: ``python -m benchmarks.cost_terms [OP ...]``.

For every op, dtype and backend it prints the seconds of a launch beyond the dispatcher's own, and the shares of the
host's arithmetic and bandwidth that remain at a size in the second-level cache. Runs are interleaved and the best one
counts: what the kernel can do when nothing else runs.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Final

import numpy as np

import opmux as ox
from opmux.core.devices.device import find_device
from opmux.core.dispatch.call import decide_call
from opmux.core.dispatch.choose import spec_of
from opmux.core.dispatch.decision import Decision, Run
from opmux.core.dispatch.execute import kernel_runner
from opmux.core.kernel import Prepared
from opmux.core.op import OPS

#: Elements of the two sizes.
SMALL: Final = 8
LARGE: Final = 50_000
_ROUNDS: Final = 5
UNARY: Final = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "copy", "cos", "cosh", "erf", "exp", "exp2",
    "expm1", "floor", "log", "log10", "log1p", "log2", "max", "round", "sign", "sin", "sinh", "sqrt", "sum", "tan",
    "tanh",
)  # fmt: skip
BINARY: Final = ("add", "atan2", "copysign", "divide", "hypot", "maximum", "multiply", "nextafter", "pow", "remainder")
ALONG: Final = ("argmax", "cumulative_sum", "cumulative_prod")


def decisions(n: int, dtype: str, wanted: set[str]) -> Iterator[tuple[Decision, list[ox.Array]]]:
    """Yield a decision for every op wanted, over n elements, with its operands."""
    rng = np.random.default_rng(0)
    x, y = (ox.astype(ox.asarray(rng.uniform(0.1, 0.9, n)), getattr(ox, dtype)) for _ in range(2))
    indices = ox.asarray(rng.integers(0, n, n))
    table: dict[str, tuple[list[ox.Array], dict[str, object]]] = {
        **{name: ([x], {}) for name in UNARY},
        **{name: ([x, y], {}) for name in BINARY},
        **{name: ([x], {"axis": 0}) for name in ALONG},
        "acosh": ([x + 1.0], {}),
        "where": ([x < y, x, y], {}),
        "cast": ([x], {"dtype": ox.int32}),
        "gather": ([x, indices], {"axis": 0}),
    }
    for name, (operands, attributes) in table.items():
        if not wanted or name in wanted:
            yield decide_call(OPS[name], tuple(operands), attributes), operands


def seconds(decision: Decision, operands: list[ox.Array]) -> dict[str, float]:
    """Return the best time of each backend's cheapest kernel, without what every call costs."""
    runs: dict[str, Run] = {}
    for backend in sorted({c.backend for c in decision.candidates if c.kernel is not None}):
        with contextlib.suppress(ox.UnsupportedError), ox.policy(pins={decision.op.name: backend}):
            runs[backend] = decide_call(decision.op, tuple(operands), dict(decision.attributes)).run
    nothing = Prepared(lambda outs, ins, workspace, queue: None)
    signatures = tuple(x._sig for x in operands)
    runs[""] = kernel_runner(decision.device, "", "", "", nothing, decision.outputs, None, signatures, ())
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(_ROUNDS):
        for backend, run in runs.items():
            start = time.perf_counter()
            run(operands, None)
            once = time.perf_counter() - start
            loops = max(1, min(200, int(2e-4 / once)))
            start = time.perf_counter()
            for _ in range(loops):
                run(operands, None)
            best[backend] = min(best[backend], (time.perf_counter() - start) / loops)
    common = best.pop("")
    return {backend: max(t - common, 1e-9) for backend, t in best.items()}


def main(wanted: set[str]) -> None:
    """Print one line per op, dtype and backend."""
    rates = find_device("cpu").rates
    print(f"{'op':16}{'dtype':10}{'backend':8}{'launch':>10}{'arithmetic':>12}{'bandwidth':>11}")
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        pairs = zip(decisions(SMALL, dtype, wanted), decisions(LARGE, dtype, wanted), strict=True)
        for (small, few), (large, many) in pairs:
            work = large.op.work(
                tuple(spec_of(s) for s in large.inputs),
                [spec for spec in map(spec_of, large.outputs) if spec is not None],
                dict(large.attributes),
            )
            launches, times = seconds(small, few), seconds(large, many)
            for backend in sorted(launches.keys() & times.keys()):
                t = times[backend]
                arithmetic = work.flops / t / rates.flops_for(dtype)
                bandwidth = work.nbytes / t / rates.bandwidth_at(work.nbytes)
                launch = f"{launches[backend] * 1e6:.2f} us"
                print(f"{large.op.name:16}{dtype:10}{backend:8}{launch:>10}{arithmetic:12.2%}{bandwidth:11.2f}")


if __name__ == "__main__":
    main(set(sys.argv[1:]))
