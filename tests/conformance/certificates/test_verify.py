"""Verifying: edited and sealed again shows, as does another implementation, another device, another outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opmux.conformance.certificates.errors import CertificateError
from opmux.conformance.certificates.model import Certificate
from opmux.conformance.certificates.packing import packed
from opmux.conformance.certificates.sign import new_key, signed
from opmux.conformance.certificates.verify import Verification, chosen, verify
from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.running.selection import Selection
from opmux.core.errors import ArgumentError, DeviceError
from opmux.core.sealed import sealed
from tests.conformance.certificates.conftest import BACKEND, Made, failed, result


def _wrong(found: Verification) -> dict[str, str]:
    return {c.name: c.text for c in found.checks if c.fine is False}


def _verify(c: Certificate, **options: Any) -> Verification:
    return verify(c.to_dict(), "c.json", **options)


def test_a_sound_certificate(whole: Certificate) -> None:
    found = _verify(whole, profile="core-f32")
    assert _wrong(found) == {}
    assert found.fine
    assert [c.name for c in found.checks] == [
        "schema", "seal", "signature", "parts", "suite", "profile", "implementation",
    ]  # fmt: skip
    assert found.checks[2].text == "self-declared"


def test_one_that_tells_of_failures_is_sound_too(made: Made) -> None:
    c = made(failed("exp-float32-values"))
    assert _verify(c).fine
    assert "NOT conformant" in _wrong(_verify(c, profile="core-f32"))["profile"]


def test_an_edited_one_is_not(whole: Certificate) -> None:
    found = verify({**whole.to_dict(), "headline": "perfect"}, "c.json")
    assert set(_wrong(found)) == {"seal"}
    assert found.certificate is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"failures": []}, "its failures name 0 cases"),
        ({"headline": "conformant to core-f32"}, "its headline do not follow"),
        ({"claims": []}, "its claims do not follow"),
        ({"assertions": 3}, "with 3 assertions"),
    ],
)
def test_one_that_was_edited_and_sealed_again_contradicts_itself(made: Made, change: dict[str, Any], says: str) -> None:
    document = made(failed("exp-float32-values")).to_dict()
    assert any(says in text for text in _wrong(verify(sealed({**document, **change}), "c.json")).values())


def test_a_failure_that_was_turned_into_a_pass_leaves_traces(made: Made) -> None:
    document = made(failed("exp-float32-values")).to_dict()
    failing = made(failed("exp-float32-values")).cases
    cases = packed({**failing, "exp-float32": dict.fromkeys(failing["exp-float32"], "pass")})
    wrong = _wrong(verify(sealed({**document, "cases": cases, "failures": []}), "c.json"))
    assert {"parts", "suite"} <= set(wrong)
    assert "it counts" in wrong["parts"]


def test_a_partial_one_that_is_called_complete(made: Made) -> None:
    document = made(without=("exp-float32-values",)).to_dict()
    wrong = _wrong(verify(sealed({**document, "incomplete": [], "complete": True}), "c.json"))
    assert "absent: 1 cases: exp-float32-values" in wrong["suite"]


@pytest.mark.parametrize("flag", ["quick", "partial", "stopped"])
def test_flags_that_were_turned_into_completeness(made: Made, flag: str) -> None:
    document = made(**{flag: True}).to_dict()
    wrong = _wrong(verify(sealed({**document, "incomplete": [], "complete": True}), "c.json"))
    assert flag in wrong["suite"]


def test_of_another_suite_only_what_every_suite_shares_is_looked_at(whole: Certificate) -> None:
    other = replace(whole, suite=replace(whole.suite, digest="sha256:" + "0" * 64))
    assert [(c.name, c.fine) for c in _verify(other).checks][3:5] == [("parts", True), ("suite", None)]


def test_another_implementation_is_installed(whole: Certificate) -> None:
    other = replace(whole, backend=replace(whole.backend, implementation="sha256:" + "0" * 64))
    assert "other files" in _wrong(_verify(other))["implementation"]


def test_a_backend_that_is_not_installed_is_not_looked_at(whole: Certificate) -> None:
    checks = _verify(replace(whole, backend=replace(whole.backend, name="acme"))).checks
    assert [c.fine for c in checks if c.name == "implementation"] == [None]


def test_the_signature_must_be_by_the_trusted_key(whole: Certificate, tmp_path: Path) -> None:
    public = new_key(tmp_path / "acme.pem")
    made = signed(whole, tmp_path / "acme.pem")
    assert _verify(made, public_key=public).fine
    assert "self-declared" in _wrong(_verify(whole, public_key=public))["signature"]


class Runner:
    """Stands in for the suite: gives the results that a test wants."""

    def __init__(self, whole: Certificate, **changes: Any) -> None:
        self.model, self._changes, self.asked = whole.device.model, changes, Selection()

    def __call__(self, selection: Selection, kind: str) -> tuple[str, Sequence[CaseResult]]:
        self.asked = selection
        return self.model, [result(case, **self._changes) for case in selection.cases]


def test_a_rerun_asks_for_random_cases_with_the_recorded_seed(made: Made) -> None:
    c = made(failed("exp-float32-values"))
    runner = Runner(c)
    found = _verify(c, rerun=20, seed=5, runner=runner)
    assert found.fine
    assert len(runner.asked.cases) == 20
    assert list(runner.asked.cases) == chosen(c, 20, 5)
    assert chosen(c, 20, 5) != chosen(c, 20, 6)
    assert "exp-float32-values" not in chosen(c, 10**6, 1)
    assert runner.asked.backends == (BACKEND,)
    assert "seed 5" in found.checks[-1].name


def test_a_rerun_that_finds_something_else(whole: Certificate) -> None:
    runner = Runner(whole, outcome=Outcome.FAIL, message="off by one")
    text = _wrong(_verify(whole, rerun=3, seed=1, runner=runner))["rerun (seed 1)"]
    assert "3 of 3 cases are not as certified" in text
    assert "off by one" in text


def test_a_rerun_on_another_device_proves_nothing(whole: Certificate) -> None:
    runner = Runner(whole)
    runner.model = "an older one"
    assert "this device is 'an older one'" in _wrong(_verify(whole, rerun=1, seed=1, runner=runner))["rerun (seed 1)"]


def test_a_rerun_that_cannot_be_made_is_wrong(whole: Certificate) -> None:
    def broken(selection: Selection, kind: str) -> tuple[str, Sequence[CaseResult]]:
        raise DeviceError("no device here")

    assert "no device here" in _wrong(_verify(whole, rerun=1, seed=1, runner=broken))["rerun (seed 1)"]
    silent = Runner(whole)
    silent.__class__ = type("Silent", (Runner,), {"__call__": lambda self, s, k: (self.model, [])})
    assert "was not run" in _wrong(_verify(whole, rerun=1, seed=1, runner=silent))["rerun (seed 1)"]


def test_a_profile_that_does_not_exist_is_a_mistake_and_no_finding(whole: Certificate) -> None:
    with pytest.raises(ArgumentError, match=r"no profile named 'core-f23'; did you mean 'core-f32' or '\S+'\?"):
        _verify(whole, profile="core-f23")


def test_what_is_no_certificate_is_a_typed_error() -> None:
    with pytest.raises(CertificateError, match="is no certificate"):
        verify({"a": 1}, "c.json")
