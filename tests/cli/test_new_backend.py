"""opmux new-backend: what it writes installs, is found, and runs; what it refuses, it refuses before it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from opmux.cli import new_backend
from opmux.core.plugins import manager
from opmux.core.plugins.status import BackendStatus, State
from tests.stranger import install, opmux, python

from .conftest import Command


@pytest.fixture(scope="module", params=["npu", "cpu"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The folder of a new backend named acme-x, where it is installed, and its device kind."""
    source, site = tmp_path_factory.mktemp("new") / "acme", tmp_path_factory.mktemp("site")
    new_backend.write(source, "acme-x", request.param)
    install(source, site)
    return source, site, request.param


def test_it_is_found_and_ready(made: tuple[Path, Path, str]) -> None:
    _, site, kind = made
    done = opmux(site, "doctor", "--json")
    [acme] = [b for b in json.loads(done.stdout)["backends"] if b["name"] == "acme-x"]
    assert (acme["state"], acme["devices"]) == ("ready", [] if kind == "cpu" else [f"{kind}:0"])


def test_its_own_tests_pass(made: tuple[Path, Path, str]) -> None:
    source, site, _ = made
    # Without the options that add the suite, which has its own test.
    done = python(site, "-P", "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", cwd=source)
    assert done.returncode == 0, done.stdout


def test_its_pytest_settings_run_the_suite(made: tuple[Path, Path, str]) -> None:
    source, site, kind = made
    op = "exp" if kind == "cpu" else "add"
    options = ("--opmux-op", op, "--opmux-dtype", "float32", "-p", "no:cacheprovider")
    done = python(site, "-P", "-m", "pytest", "-q", *options, cwd=source)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.rpartition(" passed")[0].split()[-1]) > 1


def test_nothing_fails_and_much_is_left_to_do(made: tuple[Path, Path, str]) -> None:
    _, site, _ = made
    done = opmux(site, "conformance", "--backend", "acme-x", "--profile", "core-f32", "--quick", "--json")
    counts = json.loads(done.stdout)["counts"]
    assert counts["fail"] + counts["crash"] + counts["timeout"] + counts["not_run"] == 0
    assert 0 < counts["pass"] < counts["unsupported"]


def test_a_wrong_kernel_stays_wrong_when_it_is_run_again(tmp_path: Path) -> None:
    source, site = tmp_path / "acme", tmp_path / "site"
    site.mkdir()
    new_backend.write(source, "acme", "acme")
    kernels = source / "opmux_acme" / "kernels.py"
    kernels.write_text(kernels.read_text().replace("*operands)\n", "*operands) + 1\n", 1), encoding="utf-8")
    install(source, site)
    for _ in range(2):  # what the first run found out must not keep the second one from looking
        done = opmux(site, "conformance", "--backend", "acme", "--op", "add", "--dtype", "int32", "--quick")
        assert done.returncode == 1, done.stdout


def test_a_private_key_and_what_is_built_stay_out_of_the_repository(tmp_path: Path) -> None:
    written = new_backend.write(tmp_path, "acme", "acme")
    assert Path(".gitignore") in written
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    kept = ["acme.pem.pub", "opmux_acme/kernels.py", "opmux_acme/opmux-certificate.json"]
    ignored = ["acme.pem", "build/lib/a.py", "opmux_acme/__pycache__/a.pyc", "opmux_acme.egg-info/PKG-INFO"]
    said = subprocess.run(["git", "check-ignore", *kept, *ignored], cwd=tmp_path, capture_output=True, text=True)
    assert said.stdout.split() == ignored


def test_generated_code_is_clean(made: tuple[Path, Path, str]) -> None:
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,W,B,UP", "--line-length", "120"]
    done = subprocess.run([*ruff, str(made[0])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("Acme",), "lower-case"),
        (("7up",), "begins with a letter"),
        (("acme", "--device-kind", "a-b"), "device kind"),
        (("acme", "--device-kind", "cpu"), "--cpu"),
        (("acme", "--device-kind", "npu", "--cpu"), "exclude"),
    ],
)
def test_bad_names_are_refused(arguments: tuple[str, ...], word: str, opmux: Command, tmp_path: Path) -> None:
    status, _, err = opmux("new-backend", *arguments, "--folder", str(tmp_path / "acme"))
    assert status == 2
    assert word in err
    assert not (tmp_path / "acme").exists()


def test_nothing_is_overwritten(opmux: Command, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    status, _, err = opmux("new-backend", "acme", "--folder", str(tmp_path))
    assert status == 2
    assert "not empty" in err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_folder_that_cannot_be_made_is_named(opmux: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = opmux("new-backend", "acme", "--folder", str(tmp_path / "file" / "acme"))
    assert status == 2
    assert "cannot write" in err


def test_names_in_use_are_warned_of(opmux: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [BackendStatus("acme", "other-acme", "1", State.READY, ("npu:0",))]
    monkeypatch.setattr(manager, "status", lambda: known)
    _, _, err = opmux("new-backend", "acme", "--folder", str(tmp_path / "a"))
    assert "acme is installed already (other-acme)" in err
    _, _, err = opmux("new-backend", "zeta", "--device-kind", "npu", "--folder", str(tmp_path / "z"))
    assert "npu belongs to the backend acme" in err
