"""Kernels compile for the targets, and none of them keeps anything in local memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

import opmux as ox
from opmux.backends.cuda import formulas
from opmux.backends.cuda.compiling.targets import TARGETS
from opmux.backends.cuda.folds import Fold
from opmux.backends.cuda.reduction_kernels import PARTS
from opmux.backends.cuda.reductions import Form, Variant, source
from tests.backends.cuda.compiling.collected import collected
from tests.backends.cuda.compiling.cover import Text, cover, pieces
from tests.backends.cuda.compiling.pool import Job, compile_all, targets_for
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.resources.calls import Recorder, region

#: Targets that differ in what the assembler makes of a text; the others are compiled for by the table of resources.
DIFFERENT = ("sm_80", "sm_90a", "sm_100")
#: Parts into which all texts are cut, each with a time limit of its own.
SLICES = 6


def faults(jobs: Iterable[Job]) -> list[str]:
    """Compile, and return what is wrong."""
    found = []
    for (body, _, target), made in compile_all(jobs).items():
        if isinstance(made, str):
            found.append(f"{target}: {made[:2000]}")
            continue
        spilled = {name: needs.local for name, needs in made.items() if needs.local}
        if spilled:
            found.append(f"{target}: {spilled} bytes of local memory in\n{body}")
    return found


@pytest.fixture(scope="module")
def chosen() -> list[Text]:
    return cover(collected().texts)


@pytest.mark.parametrize("target", DIFFERENT)
def test_every_line_of_text_compiles(chosen: list[Text], target: str) -> None:
    left_out = DIFFERENT.index(target)  # a text is compiled for two of the three, which saves half a minute
    jobs = [
        (*text, target)
        for i, text in enumerate(chosen)
        if target in targets_for(text[1]) and (i % len(DIFFERENT) != left_out or len(targets_for(text[1])) == 1)
    ]
    assert len(jobs) > 100
    assert "\n".join(faults(jobs)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("target", DIFFERENT)
@pytest.mark.parametrize("part", range(SLICES))
def test_every_text_compiles(part: int, target: str) -> None:
    texts = sorted(collected().texts)[part::SLICES]
    assert "\n".join(faults((*text, target) for text in texts if target in targets_for(text[1]))) == ""


@pytest.mark.parametrize(
    "fold",
    [
        Fold("sum", "complex128", "complex128"),
        Fold("sum", "float32", "complex128"),
        Fold("argmax", "float64", "int64"),
        Fold("argmax", "float32", "int64"),
        Fold("prod", "float64", "float64"),
    ],
    ids=lambda fold: f"{fold.kind} {fold.source} {fold.result}",
)
def test_terms_that_one_thread_takes_alone_are_in_its_registers(fold: Fold) -> None:
    walked = Variant(fold, Form.FEW, reduced_rank=2, few=fold.most_few)
    parts = (*formulas.parts((fold.source, fold.result)), *PARTS)
    assert "\n".join(faults((source(walked), parts, target) for target in TARGETS)) == ""


def test_terms_of_a_region_that_one_thread_takes_alone_are_in_its_registers() -> None:
    runtime = Recorder()
    with registered(OnHost(runtime)):
        region(lambda x: ox.argmax(ox.astype(x, ox.int64) * x, axis=0), (32, 300), dtype=ox.uint32)()
    assert [entry for _, entry in runtime.launched] == ["reduce_columns"]
    texts = [runtime.texts[module] for module, _ in runtime.launched]
    assert "\n".join(faults((*text, target) for text in texts for target in TARGETS)) == ""


@pytest.mark.parametrize(
    "function", [ox.log_softmax, lambda x: ox.sin(x - ox.max(x, axis=-1, keepdims=True))], ids=["log_softmax", "sin"]
)
def test_full_rows_of_wide_elements_are_in_registers(function: Callable[[ox.Array], ox.Array]) -> None:
    runtime = Recorder()
    with registered(OnHost(runtime)):
        region(function, (1024, 4096), dtype=ox.float64)()
    assert [entry for _, entry in runtime.launched] == ["reduce_whole_rows"]
    texts = [runtime.texts[module] for module, _ in runtime.launched]
    assert "\n".join(faults((*text, target) for text in texts for target in TARGETS)) == ""


def test_a_cover_has_every_piece() -> None:
    texts: list[Text] = [("a; b;", ()), ("b; c 1;", ()), ("c 2; a; d", ()), ("b", ("p",))]
    assert cover(texts) == [texts[2], texts[3]]
    assert frozenset().union(*map(pieces, texts)) == {"a", "b", "c #", "d", "part p"}


def test_what_does_not_compile_and_what_spills_is_told() -> None:
    body = "int a[8] = {}; for (int i = 0; i < n; ++i) a[p[i] & 7] += i; p[0] = a[n & 7];"
    spilling = f'extern "C" __global__ void f(int* p, int n) {{ {body} }}'
    told = faults([("no kernel", (), "sm_80"), (spilling, (), "sm_90a")])
    assert "sm_80: " in told[0]
    assert "no kernel" in told[0]
    assert "sm_90a: {'f': 32}" in told[1]
