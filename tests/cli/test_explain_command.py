"""``opmux explain``: calls written as words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opmux.cli.specs import parse_attribute, parse_operand
from opmux.core.devices.device import find_device
from opmux.core.errors import ArgumentError

from .conftest import Command


def test_a_matrix_product_is_explained(opmux: Command) -> None:
    status, out, _ = opmux("explain", "matmul", "f32[512,512]", "f32[512,512]")
    assert status == 0
    assert out.startswith("matmul(float32[512,512], float32[512,512])\nruns on cpu:0 by ")
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (("sum", "f32[8,8]", "-s", "axis=1"), "sum(float32[8,8], axis=(1,))"),
        (("pad", "f32[8]", "--set", "pad_width=(1,2)"), "pad(float32[8], float32[], pad_width=((1,2),))"),
        (("gather", "f32[8,8]", "i64[3]", "-s", "axis=1"), "gather(float32[8,8], int64[3], axis=1)"),
        (("concat", "f32[2,8]", "f32[3,8]"), "concat(float32[2,8], float32[3,8])"),
        (("full", "-s", "shape=2,3", "-s", "fill_value=1.5"), "full(float32[], shape=(2,3))"),
        (("iota", "-s", "shape=4"), "iota(shape=(4,))"),
        (("add", "f32[8]", "-1"), "add(float32[8], float32[])"),
        (("conv", "f32[1,1,8]", "f32[1,1,3]", "none"), "conv(float32[1,1,8], float32[1,1,3])"),
        (("exp", "f64[3,4]@strides(1,3)"), "exp(float64[3,4] strided)"),
        (("clip", "f32[4]", "0", "1"), "clip(float32[4], float32[], float32[])"),
    ],
)
def test_calls_as_words(arguments: tuple[str, ...], call: str, as_json: Callable[..., Any]) -> None:
    assert as_json("explain", *arguments)["call"] == call


def test_json_holds_every_candidate_and_every_term(as_json: Callable[..., Any]) -> None:
    data = as_json("explain", "matmul", "f32[64,64]", "f32[64,64]")
    assert {r["candidate"].partition("/")[0] for r in data["rows"]} >= {"numpy", "llvm"}
    chosen = data["rows"][0]
    assert chosen["candidate"] == data["chosen"]
    assert set(chosen["terms"]) == {"launch", "compute", "memory", "copies", "transfers"}


def test_operands_larger_than_memory_cost_nothing(opmux: Command) -> None:
    assert opmux("explain", "add", "f32[1000000,1000000]", "f32[1000000,1000000]")[0] == 0


@pytest.mark.parametrize("text", ["f32[8", "f33[8]", "f32[2,,3]", "f32[-1]", "eight", "f32[2,2]@strides(1)", ""])
def test_bad_operands_are_named(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"dtype|operand|stride"):
        parse_operand(text, find_device("cpu"))


@pytest.mark.parametrize("text", ["axis", "=1", "padding=((0,1)", "padding=(f())"])
def test_bad_attributes_are_named(text: str) -> None:
    with pytest.raises(ArgumentError, match="is not an attribute"):
        parse_attribute(text)
