"""What workers try is what the certificate names: nothing in the current folder takes its place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from opmux.conformance.certificates.store import read
from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.running.isolation import Job, Runner, folders
from opmux.conformance.running.journal import Journal
from opmux.conformance.running.run import run
from opmux.conformance.running.selection import Selection

BACKEND = """
import numpy as np
from opmux.plugin import Accepts, Kernel, Prepared, hookimpl

def launch(outs, ins, workspace, queue):
    np.negative(ins[0].host, out=outs[0].host)
    {fault}

def prepare(spec):
    return Prepared(launch)

@hookimpl
def opmux_kernels():
    return [Kernel("negative", "negative", "cpu", prepare, Accepts((frozenset({{"int32"}}),)))]
"""
MANIFEST = 'name = "acmetwice"\nspi = "0.1"\nopset = ">=0.1,<1"\n'
ARGUMENTS = ("conformance", "--backend", "acmetwice", "--op", "negative", "--dtype", "int32", "--case")
CASE = "negative-int32-values"


def _package(folder: Path, fault: str) -> None:
    package = folder / "acmetwice_backend"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(BACKEND.format(fault=fault))
    (package / "opmux-backend.toml").write_text(MANIFEST)


@pytest.fixture
def opmux(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program beside a sound checkout of a backend whose installed package is wrong."""
    site, checkout = tmp_path / "site", tmp_path / "checkout"
    _package(site, "outs[0].host.fill(7)")
    _package(checkout, "pass")
    (site / "acmetwice-1.dist-info").mkdir()
    (site / "acmetwice-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: acmetwice\nVersion: 1\n")
    (site / "acmetwice-1.dist-info" / "entry_points.txt").write_text(
        "[opmux.backends]\nacmetwice = acmetwice_backend\n"
    )
    # As a console script does it: the folder of the script is on the path, the current one is not.
    script = tmp_path / "bin" / "run"
    script.parent.mkdir()
    script.write_text("from opmux.cli.main import main\nmain()\n")

    def call(*start: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, "OPMUX_CACHE_DIR": str(tmp_path / "cache")}
        return subprocess.run(
            [sys.executable, *(start or (str(script),)), *ARGUMENTS, CASE, "--certificate", str(tmp_path / "c.json")],
            cwd=checkout, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return call


def test_a_sound_checkout_in_the_current_folder_proves_nothing_of_the_wrong_installation(
    opmux: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    found = opmux()
    assert "FAIL acmetwice" in found.stdout, found.stdout + found.stderr
    assert found.returncode == 1
    assert read(tmp_path / "c.json").headline.startswith("NOT CONFORMANT")


def test_a_program_that_sees_other_files_than_its_workers_is_told(
    opmux: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    found = opmux("-c", "import sys; sys.path.insert(0, ''); from opmux.cli.main import main; main()")
    assert found.returncode == 3, found.stdout + found.stderr
    assert "the worker found acmetwice in" in found.stdout
    assert "not-run" in read(tmp_path / "c.json").headline


def test_workers_of_this_process_see_what_it_sees() -> None:
    assert run(Selection(("numpy",), ops=("negative",), dtypes=("int32",))).counts["pass"] > 5
    assert set(folders()) >= {"numpy", "opmux"}
    assert Runner(1.0)._worker is None


def test_a_run_does_not_go_on_with_what_another_environment_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPMUX_CACHE_DIR", str(tmp_path / "cache"))
    resumed = Selection(("numpy",), resume=True)
    job = Job("numpy", "cpu:0", "exp", "float32", False, (CASE,))

    def known(numpy: str) -> dict[str, CaseResult]:
        monkeypatch.setattr("opmux.conformance.running.journal.environment", lambda: {"numpy": numpy})
        with Journal.of(resumed, ()) as journal:
            return journal.known(job)

    assert known("2.0") == {}
    with Journal.of(Selection(("numpy",)), ()) as journal:
        journal.write(CaseResult(CASE, "numpy", "exp", "float32", "values", "cpu:0", Outcome.PASS))
    assert list(known("2.0")) == [CASE]
    assert known("2.1") == {}
