"""Pages for tests: a small one with everything in it, and a large one."""

from __future__ import annotations

from dataclasses import replace

from opmux.conformance.reports import facts
from opmux.conformance.reports.model import (
    CaseLine,
    Cell,
    Failure,
    Page,
    ProfileLine,
    Proof,
    Speed,
    Timing,
)

EVIL = '<script>document.title = "owned"</script> & "quoted" \x00\x1b[31m | `tick`'


def failed(case: CaseLine, **more: bool) -> Failure:
    return Failure(case, f"opmux conformance --backend acme --case '{case.id}'", **more)


def cell(op: str, dtype: str, kernel: str = "", error: float | None = None, **counts: int) -> Cell:
    worst = None if error is None else facts.worst(op, dtype, error, "ULP", f"{op}-{dtype}-values", kernel)
    return Cell(op, dtype, facts.families().get(op, ""), counts, (kernel,) if kernel else (), worst)


def acme() -> Page:
    """Return a page with one of everything."""
    cases = (
        CaseLine("exp-float32-values", "exp", "float32", "pass", 0.25, kernel="acme/exp"),
        CaseLine("exp-float32-special-exp(<-inf) -> +0", "exp", "float32", "fail", 0.5, EVIL, "acme/exp"),
        CaseLine("exp-float64-values", "exp", "float64", "crash", 1.0, "ended by SIGSEGV"),
        CaseLine("silu-float32-values", "silu", "float32", "pass", 0.1),
        CaseLine("add-float32-values", "add", "float32", "unsupported", 0.0, "no kernel"),
        CaseLine("sum-float32-values", "sum", "float32", "waived", 0.0, "known (issue 7)"),
        CaseLine("max-float32-values", "max", "float32", "not_run"),
        CaseLine("negative-int8-values", "negative", "int8", "under_claim", 0.0, "it works, undeclared"),
    )
    return Page(
        "acme", "1.2.0", "acme:0", model="Board <1>", memory=1 << 30, claims=("core-f32",), flushes_subnormals=True,
        complete=False,
        obstacles=(("partial", "not every case was run"),),
        suite={"opset": "0.1"},
        begun="2026-03-01T10:00:00+00:00",
        seconds=2.5,
        seed=7,
        command="opmux conformance --backend acme --seed 7",
        environment={"python": "3.13"},
        assertions=42,
        profiles=(ProfileLine("core-f32", True, False, True, 23, 31, ("gather", "pad"), 1),),
        cells=(
            cell("add", "float32", unsupported=1),
            cell("negative", "int8", "acme/negative", under_claim=1),
            cell("exp", "float32", "acme/exp", 1.5, **{"pass": 1, "fail": 1}),
            cell("exp", "float64", crash=1),
            cell("silu", "float32", "decomposition of acme/exp", 0.75, **{"pass": 1}),
            cell("sum", "float32", waived=1),
            cell("max", "float32", not_run=1),
        ),
        cases=cases,
        failures=(failed(cases[1]), failed(cases[2], flaky=True)),
        proofs=(
            Proof("exp", "exp", "float32", "refuted", None, "none"),
            Proof("silu", "silu", "float32", "shown", None, "batch"),
        ),
        waivers=({"op": "sum", "reason": "driver fault", "issue": "https://example.com/7", "expiry": "2027-01-31"},),
        under_claims=(("negative-int8-values", "it works, undeclared"),),
        troubles=("a worker did not start",),
        digest="sha256:0123",
    )  # fmt: skip


def timed(page: Page, factor: float = 1.0) -> Page:
    """Return the page with times."""
    rows = (
        Timing("exp", "float32", "small", "f32[8]", "acme/exp", 2e-6 * factor, 1e-7, 9, 0.3, "launch", 1e-6, 80, 64),
        Timing("exp", "float32", "large", "f32[9]", "acme/exp", 8e-3 * factor, 1e-4, 9, 1.4, "memory", 9e-3, 8e7, 6e7),
        Timing("copy", "float32", "large", "f32[9]", "acme/copy", 4e-3 * factor, 1e-4, 9, 0.9, "memory", 5e-3, 0, 6e7),
    )
    speed = Speed(rows, ((1 << 14, 9e10), (1 << 26, 1e10)), (("float32", 1e11),), ("exp became slower",))
    return replace(page, speed=speed)


def conformant(name: str = "globex") -> Page:
    """Return a page of a backend that passes what it was asked."""
    exp = CaseLine("exp-float32-values", "exp", "float32", "pass", 0.2)
    return Page(
        name, "3.0", "globex:0", conformant=("core-f32",), cases=(exp,), assertions=1, seconds=1.0,
        profiles=(ProfileLine("core-f32", True, True, True, 31, 31, (), 0),),
        cells=(cell("exp", "float32", f"{name}/exp", 0.9, **{"pass": 1}),),
    )  # fmt: skip


def large(failures: int = 20_000) -> Page:
    """Return a page on which every pair of the suite fails, with long messages."""
    from opmux.conformance.cases.enumerate import all_pairs

    pairs = all_pairs()
    cases = tuple(
        CaseLine(f"{op}-{t}-values-{i}", op, t, "fail", 0.1, f"{i} " + "wrong & <wronger> " * 500)
        for i in range(failures)
        for op, t in [pairs[i % len(pairs)]]
    )
    cells = tuple(cell(op, t, f"acme/{op}", 3.0, fail=failures // len(pairs)) for op, t in pairs)
    return replace(acme(), cases=cases, cells=cells, failures=tuple(map(failed, cases)))
