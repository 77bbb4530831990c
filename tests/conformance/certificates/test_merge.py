"""Shards of one run make one complete certificate, or none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from opmux.conformance.certificates.errors import CertificateError
from opmux.conformance.certificates.merge import merge
from opmux.conformance.certificates.model import Certificate, Obstacle


def test_a_shard_is_not_complete(shards: list[Certificate]) -> None:
    for c in shards:
        assert {o.reason for o in c.incomplete} == {"shard", "absent"}
        assert c.conformant == ()


def test_shards_make_the_certificate_of_the_whole_run(shards: list[Certificate], whole: Certificate) -> None:
    made = merge(shards)
    assert made == merge(shards[::-1])
    assert made.run.shards == ("1/2", "2/2")
    assert made.run.command == whole.run.command
    assert (made.complete, made.conformant, made.counts) == (True, whole.conformant, whole.counts)
    assert set(made.claims) == set(whole.claims)
    assert made.assertions == whole.assertions
    assert dict(made.outcomes()) == dict(whole.outcomes())
    assert {row.pair: {k.name: k.ran for k in row.kernels} for row in made.ops} == {
        row.pair: {k.name: k.ran for k in row.kernels} for row in whole.ops
    }


def test_the_larger_error_is_kept(shards: list[Certificate]) -> None:
    first, second = shards
    rows = tuple(
        replace(r, worst=tuple(replace(w, error=3.0) for w in r.worst),
                kernels=tuple(replace(k, worst_ulp=3.0) for k in r.kernels))
        for r in second.ops
    )  # fmt: skip
    made = merge([first, replace(second, ops=rows)])
    row = next(r for r in made.ops if r.pair == "exp-float32")
    assert (row.worst[0].error, row.kernels[0].worst_ulp) == (3.0, 3.0)
    assert {c.max_ulp for c in made.claims if (c.op, c.dtype) == ("exp", "float32")} == {3.0}


def _device(c: Certificate) -> Certificate:
    return replace(c, device=replace(c.device, model="another"))


def _run(c: Certificate, **changes: Any) -> Certificate:
    return replace(c, run=replace(c.run, **changes))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: replace(c, suite=replace(c.suite, digest="sha256:1")), "suite of certificate 2"),
        (lambda c: replace(c, suite=replace(c.suite, core="sha256:1")), "suite of certificate 2"),
        (lambda c: replace(c, backend=replace(c.backend, implementation="sha256:1")), "implementation of"),
        (lambda c: replace(c, backend=replace(c.backend, version="2")), "backend and version"),
        (lambda c: replace(c, backend=replace(c.backend, dependencies={})), "dependencies"),
        (_device, "device of"),
        (lambda c: _run(c, seed=3), "seed of"),
        (lambda c: replace(c, environment={**c.environment, "numpy": "1.0"}), "environment"),
        (lambda c: replace(c, incomplete=(*c.incomplete, Obstacle("changed", "files changed"))), "changed"),
        (lambda c: replace(c, incomplete=(*c.incomplete, Obstacle("not-run", "1 cases"))), "not-run"),
        (lambda c: _run(c, shards=("2/3",)), "number of shards"),
        (lambda c: _run(c, shards=("1/2",)), "shard 1/2 is given 2 times; shard 2/2 is missing"),
        (lambda c: _run(c, shards=()), "is no shard"),
    ],
)
def test_what_is_different_or_doubled_is_named(shards: list[Certificate], change: Any, says: str) -> None:
    with pytest.raises(CertificateError, match=says):
        merge([shards[0], change(shards[1])])


def test_another_number_of_cores_is_no_difference(shards: list[Certificate]) -> None:
    other = replace(shards[1], environment={**shards[1].environment, "cpus": "4096", "system": "elsewhere"})
    assert merge([shards[0], other]).complete


def test_a_case_that_is_missing_from_its_shard_is_named(shards: list[Certificate]) -> None:
    cases = {pair: dict(rest) for pair, rest in shards[1].cases.items()}
    pair, rest = next((p, r) for p, r in cases.items() if r)
    label, _ = rest.popitem()
    with pytest.raises(CertificateError, match="absent: 1 cases") as caught:
        merge([shards[0], replace(shards[1], cases=cases)])
    assert f"{pair}-{label}" in str(caught.value)


def test_a_case_that_two_shards_have_is_named(shards: list[Certificate]) -> None:
    cases = {pair: dict(rest) for pair, rest in shards[1].cases.items()}
    pair, rest = next((p, r) for p, r in shards[0].cases.items() if r)
    cases.setdefault(pair, {}).update(rest)
    with pytest.raises(CertificateError, match="doubled"):
        merge([shards[0], replace(shards[1], cases=cases)])


def test_one_certificate_is_nothing_to_merge(whole: Certificate, shards: list[Certificate]) -> None:
    with pytest.raises(CertificateError, match="two certificates or more"):
        merge([whole])
    with pytest.raises(CertificateError, match="shard 2/2 is missing"):
        merge([shards[0], shards[0]])
