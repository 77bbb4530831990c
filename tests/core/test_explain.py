"""Explanations: of calls as users write them, without running them, and readable."""

from __future__ import annotations

import pytest

import opmux as ox
from opmux.core.dispatch.explain_text import seconds_in_words
from opmux.core.dispatch.observe import count_calls, planning
from opmux.core.errors import ArgumentError


def test_an_explanation_leaves_the_call_intact() -> None:
    # Constants of a decomposition that is captured while the call is only planned must be real all the same.
    x, w = ox.ones((1, 1, 5, 3)), ox.ones((1, 1, 2, 2))
    assert ox.explain(ox.conv, x, w, stride=2).op == "conv"
    assert ox.conv(x, w, stride=2).tolist() == [[[[4.0], [4.0]]]]


def test_planned_calls_do_not_run() -> None:
    x = ox.ones((2, 3))
    with planning() as made, count_calls() as seen:
        y = ox.sum(ox.exp(x), axis=1)
    assert [d.op.name for d in made] == ["exp", "sum"]
    assert y.shape == (2,)
    assert seen.most_expensive() == []


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (lambda: ox.explain("pad", ox.ones(3), 1), "pad(float32[3], float32[], pad_width=((1,1),))"),
        (lambda: ox.explain("full", (2, 2), 1.0), "full(float32[], shape=(2,2))"),
        (lambda: ox.explain("concat", [ox.ones(3), ox.ones(2)]), "concat(float32[3], float32[2])"),
        (lambda: ox.explain("sum", ox.ones((2, 3)), axis=1), "sum(float32[2,3], axis=(1,))"),
    ],
)
def test_calls_are_explained_as_users_write_them(call: object, shown: str) -> None:
    assert call().call == shown  # type: ignore[operator]


def test_what_a_public_function_does_besides_is_named() -> None:
    explained = ox.explain("argmax", ox.ones((2, 3)).T)
    assert explained.notes[0].startswith("the call also runs copy by ")


def test_a_decomposition_shows_its_parts() -> None:
    explained = ox.explain("softmax", ox.ones((4, 4)))
    row = next(r for r in explained.rows if r.candidate == "decomposition")
    assert {p.op for p in row.parts} >= {"max", "subtract", "exp", "sum", "divide"}
    assert sum(p.seconds for p in row.parts) == pytest.approx(row.seconds)


def test_a_decomposition_shows_the_arithmetic_and_the_traffic_of_its_steps() -> None:
    x = ox.ones((256, 256))
    row = next(r for r in ox.explain("softmax", x).rows if r.candidate == "decomposition")
    with count_calls() as seen:
        ox.softmax(x)
    steps = [c.decision.cost for c in seen.steps()]
    assert len(steps) == 5
    assert row.terms["compute"] == pytest.approx(sum(c.compute for c in steps))
    assert row.terms["memory"] == pytest.approx(sum(c.memory for c in steps))
    assert row.terms["memory"] > 0
    assert row.seconds == pytest.approx(sum(c.total for c in steps))


def test_an_explanation_fits_the_width() -> None:
    text = ox.explain("matmul", ox.ones((8, 8)), ox.ones((8, 8))).to_text(80)
    assert max(map(len, text.splitlines())) <= 80
    assert "cannot run it" in text


def test_no_time_is_shown_with_an_exponent() -> None:
    assert [seconds_in_words(v) for v in (999.6e-9, 0.9994e-3, 3e-12)] == ["1 us", "999 us", "0.003 ns"]


@pytest.mark.parametrize("given", [ox.barrier, ox.reshape, "barrier", "reshape"])
def test_functions_without_kernels_have_nothing_to_explain(given: object) -> None:
    with pytest.raises(ArgumentError, match=r"^(barrier|reshape) is no op: it has no kernels .*count_calls"):
        ox.explain(given)


@pytest.mark.parametrize("given", ["no such", "__doc__", "nothing", 5, len])
def test_what_is_no_op_is_shown(given: object) -> None:
    with pytest.raises(ArgumentError, match=r"no op named|is not an op; pass") as raised:
        ox.explain(given)
    assert raised.value.op == given
