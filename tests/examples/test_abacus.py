"""The out-of-tree backend of examples/abacus, as a stranger has it: a wheel in a folder of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.stranger import install, opmux, python

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "abacus"


def built(factory: pytest.TempPathFactory) -> Path:
    source, site = factory.mktemp("abacus") / "source", factory.mktemp("site")
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("*.so", "build", "*.egg-info"))
    name = install(source, site)
    assert "-py3-none-" in name  # one wheel for every Python of the platform
    assert not name.endswith("-any.whl")
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory)


def conformance(site: Path, *arguments: str) -> Any:
    done = opmux(site, "conformance", "--backend", "abacus", *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_it_is_found_and_ready(site: Path) -> None:
    done = opmux(site, "doctor", "--json")
    assert done.returncode == 0, done.stderr
    [abacus] = [b for b in json.loads(done.stdout)["backends"] if b["name"] == "abacus"]
    assert (abacus["state"], abacus["devices"], abacus["profiles"]) == ("ready", ["abacus:0"], ["core-f32"])


def test_two_builds_are_one_implementation(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    library = Path("opmux_abacus", "libabacus.so")
    assert (site / library).read_bytes() == (built(tmp_path_factory) / library).read_bytes()


def test_its_own_tests_pass(site: Path) -> None:
    done = python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "tests")
    assert done.returncode == 0, done.stdout


def test_it_passes_the_core_profile_whole(site: Path) -> None:
    report = conformance(site, "--profile", "core-f32")
    [verdict] = [v for v in report["profiles"] if v["profile"] == "core-f32"]
    assert verdict["passed"] == verdict["of"] >= 30
    assert verdict["whole"]


@pytest.mark.slow
def test_nothing_of_the_whole_suite_fails(site: Path) -> None:
    report = conformance(site)
    assert report["counts"]["pass"] > 6000
    assert [c["id"] for c in report["cases"] if c["outcome"] in ("fail", "crash", "timeout", "not_run")] == []
