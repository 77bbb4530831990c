"""A certificate in a wheel: the dispatcher believes it for these very files and for no others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from opmux.conformance.certificates.model import Certificate
from opmux.conformance.certificates.store import write
from opmux.core.dispatch.claims import CLAIMS, ClaimKey
from opmux.core.dispatch.decision import Claim
from opmux.core.plugins import manager
from opmux.core.plugins.identity import implementation
from tests.conformance.certificates.conftest import Made, failed

PLUGIN = """
import numpy as np
from opmux.plugin import Accepts, Kernel, Prepared, hookimpl

def prepare(spec):
    return Prepared(lambda outs, ins, workspace, queue: None)

@hookimpl
def opmux_kernels():
    return [Kernel("exp", "exp", "cpu", prepare, Accepts((frozenset({"float32"}),)))]
"""


@dataclass
class Wheel:
    """A backend on the path, with a place for its certificate."""

    name: str
    folder: Path

    def certify(self, c: Certificate, **changes: Any) -> None:
        about = replace(c.backend, name=self.name, version="1.2", implementation=implementation(self.folder), **changes)
        write(replace(c, backend=about), self.folder / "opmux-certificate-cpu.json")

    def level(self, c: Certificate) -> Claim:
        """Load it, and return what the dispatcher believes of its kernel."""
        assert manager.load_one(self.name).state == "ready"
        return CLAIMS.verdict(ClaimKey(self.name, "1.2", "exp", "float32", c.device.model)).level


@pytest.fixture
def wheel(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Certificate
) -> Iterator[Callable[[str], Wheel]]:
    """Install a backend of a name, which no other test may use: Python imports a package once."""
    names = []

    def install(name: str) -> Wheel:
        site = tmp_path / "site"
        info = site / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[opmux.backends]\n{name} = {name}_backend\n")
        folder = site / f"{name}_backend"
        folder.mkdir()
        (folder / "__init__.py").write_text(PLUGIN)
        (folder / "opmux-backend.toml").write_text(f'name = "{name}"\nspi = "0.1"\nopset = ">=0.1,<1"\n')
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv("PYTHONPATH", str(site))
        monkeypatch.setenv("OPMUX_CACHE_DIR", str(tmp_path / "cache"))
        names.append(name)
        return Wheel(name, folder)

    yield install
    for name in names:
        manager.unregister(name)


def test_a_matching_certificate_shows_the_claims(wheel: Callable[[str], Wheel], whole: Certificate) -> None:
    mine = wheel("acmeshown")
    mine.certify(whole)
    assert mine.level(whole) is Claim.SHOWN
    # On a device of another name it says nothing.
    key = ClaimKey("acmeshown", "1.2", "exp", "float32", "another device")
    assert CLAIMS.verdict(key).level is Claim.DECLARED


def test_a_failure_in_the_certificate_refutes(wheel: Callable[[str], Wheel], made: Made) -> None:
    c = made(failed("exp-float32-values"))
    mine = wheel("acmerefuted")
    mine.certify(c)
    assert mine.level(c) is Claim.REFUTED


def test_one_byte_of_the_implementation_is_enough(
    wheel: Callable[[str], Wheel], whole: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    mine = wheel("acmechanged")
    mine.certify(whole)
    with (mine.folder / "__init__.py").open("a") as file:
        file.write("#")
    with caplog.at_level(logging.WARNING, "opmux"):
        assert mine.level(whole) is Claim.DECLARED
    assert "other files than those beside it" in caplog.text


def test_an_edited_certificate_is_not_believed(
    wheel: Callable[[str], Wheel], made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    c = made(failed("exp-float32-values"))
    mine = wheel("acmeedited")
    mine.certify(c)
    path = mine.folder / "opmux-certificate-cpu.json"
    path.write_text(path.read_text().replace('"refuted","max_ulp"', '"shown","max_ulp"'))
    with caplog.at_level(logging.WARNING, "opmux"):
        assert mine.level(c) is Claim.DECLARED
    assert "digest is not that of its content" in caplog.text


def test_a_partial_certificate_is_not_believed(
    wheel: Callable[[str], Wheel], made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    c = made(partial=True)
    mine = wheel("acmepartial")
    mine.certify(c)
    with caplog.at_level(logging.WARNING, "opmux"):
        assert mine.level(c) is Claim.DECLARED
    assert "quick or partial run" in caplog.text
