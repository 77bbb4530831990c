"""A whole process under every condition of the cache directory, and of the environment, that can be odd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CODE = """
import numpy as np, opmux as ox
x = np.linspace(-3, 3, 1000, dtype=np.float32)
with ox.policy(backends="llvm"):
    y = ox.exp(ox.asarray(x)).numpy()
    s = float(ox.sum(ox.asarray(np.ones(5000, np.float32))))
print(bool(np.allclose(y, np.exp(x.astype(np.float64)), rtol=1e-6)), s)
"""
RIGHT = "True 5000.0"


def _files(cache: Path) -> list[Path]:
    return [p for p in cache.rglob("*") if p.is_file()]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory that a process has filled."""
    cache = tmp_path_factory.mktemp("filled") / "cache"
    environment = {**os.environ, "OPMUX_CACHE_DIR": str(cache)}
    subprocess.run([sys.executable, "-c", CODE], env=environment, check=True, capture_output=True)
    assert _files(cache)
    return cache


@pytest.fixture
def filled(template: Path, tmp_path: Path) -> Path:
    """A copy of it, with its permissions, where `run` looks for it."""
    return Path(shutil.copytree(template, tmp_path / "cache"))


def _truncate(cache: Path) -> None:
    for p in _files(cache):
        p.write_bytes(p.read_bytes()[: p.stat().st_size // 2])


def _flip_a_bit(cache: Path) -> None:
    for p in _files(cache):
        content = bytearray(p.read_bytes())
        content[-len(content) // 3] ^= 1
        p.write_bytes(bytes(content))


def _empty(cache: Path) -> None:
    for p in _files(cache):
        p.write_bytes(b"")


def _swap(cache: Path) -> None:
    """Every file under another one's name: whole and ours, but not what the name says."""
    for directory in {p.parent for p in _files(cache)}:
        names = sorted(p.name for p in directory.iterdir() if p.is_file())
        contents = [(directory / n).read_bytes() for n in names]
        for name, content in zip(names, contents[1:] + contents[:1], strict=True):
            (directory / name).write_bytes(content)


def _directories_for_files(cache: Path) -> None:
    for p in _files(cache):
        p.unlink()
        p.mkdir()


def _fifos_for_files(cache: Path) -> None:
    for p in _files(cache):
        p.unlink()
        os.mkfifo(p, 0o600)


def _links_for_files(cache: Path) -> None:
    for p in _files(cache):
        kept = cache.parent / f"elsewhere-{p.name}"
        p.rename(kept)
        p.symlink_to(kept)


def _open_to_others(cache: Path) -> None:
    for p in [cache, *cache.rglob("*")]:
        p.chmod(0o777)


def _without_permissions(cache: Path) -> None:
    for p in sorted(cache.rglob("*"), reverse=True):
        p.chmod(0)


DAMAGE = {f.__name__.strip("_").replace("_", " "): f for f in (
    _truncate, _flip_a_bit, _empty, _swap, _directories_for_files, _fifos_for_files, _links_for_files, _open_to_others,
    _without_permissions,
)}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_gives_right_results(run: Any, filled: Path, damage: str) -> None:
    DAMAGE[damage](filled)
    found = run(CODE)
    for p in [filled, *filled.rglob("*")]:
        if not p.is_symlink():
            p.chmod(0o700)
    assert (found.returncode, found.stdout.strip()) == (0, RIGHT), found.stderr


def test_a_damaged_cache_is_filled_again(run: Any, filled: Path) -> None:
    _empty(filled)
    assert run(CODE).stdout.strip() == RIGHT
    assert all(p.stat().st_size for p in _files(filled))


def test_a_foreign_cache_is_not_read(run: Any, filled: Path) -> None:
    # The owner cannot be changed without being root, so the process believes to be somebody else.
    code = """
import os
me = os.geteuid()
os.geteuid = lambda: me + 1
from opmux.core import filecache
read = []
before = filecache.FileCache.get
filecache.FileCache.get = lambda self, key: read.append(before(self, key)) or read[-1]
"""
    found = run(code + CODE + "print(len(read) > 0, [r for r in read if r is not None])\n")
    assert found.stdout.splitlines() == [RIGHT, "True []"], found.stderr


@pytest.mark.parametrize("directory", ["/proc/nope", "/dev/null", "x" * 5000, "relative"])
def test_cache_directories_that_cannot_be_made(run: Any, directory: str) -> None:
    found = run(CODE, OPMUX_CACHE_DIR=directory)
    assert (found.returncode, found.stdout.strip()) == (0, RIGHT), found.stderr


def test_a_home_that_is_not_there(run: Any) -> None:
    found = run(CODE, OPMUX_CACHE_DIR="", HOME="/proc/nope", XDG_CACHE_HOME="/proc/nope/cache")
    assert (found.returncode, found.stdout.strip()) == (0, RIGHT), found.stderr


def test_a_full_disk_costs_only_the_cache(run: Any) -> None:
    limit = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
"""
    found = run(limit + CODE)
    assert (found.returncode, found.stdout.strip()) == (0, RIGHT), found.stderr


def test_processes_that_fill_one_cache_at_once(tmp_path: Path, run: Any) -> None:
    environment = {**os.environ, "OPMUX_CACHE_DIR": str(tmp_path / "cache")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(4)
    ]
    found = [p.communicate(timeout=60)[0].strip() for p in processes]
    assert found == [RIGHT] * 4
    assert run(CODE).stdout.strip() == RIGHT
    assert not [p for p in _files(tmp_path / "cache") if p.name.startswith(".writing")]


@pytest.mark.parametrize("value", ["abc", "-1", "9" * 5000])
def test_a_number_of_threads_that_is_none(run: Any, value: str) -> None:
    code = """
import numpy as np, opmux as ox
x = ox.ones((600, 600))
print(float(ox.matmul(x, x)[0, 0]))
try:
    with ox.policy(backends="llvm"):
        ox.matmul(x, x)
except ox.UnsupportedError as error:
    print("OPMUX_NUM_THREADS" in str(error) and "whole number" in str(error) and len(str(error)) < 1000)
"""
    found = run(code, OPMUX_NUM_THREADS=value)
    assert (found.returncode, found.stdout.split()) == (0, ["600.0", "True"]), found.stdout + found.stderr


@pytest.mark.parametrize("value", ["-5", "1e9", "9" * 5000])
def test_a_limit_of_memory_that_is_none(run: Any, value: str) -> None:
    found = run("import opmux as ox\nox.ones(3)", OPMUX_CPU_MEMORY=value)
    last = found.stderr.splitlines()[-1]
    assert "ArgumentError" in last
    assert "OPMUX_CPU_MEMORY" in last
    assert len(last) < 1000


# Several at once: they are read in different places, and a process of its own takes a while.
HARMLESS = [
    {
        "OPMUX_BACKENDS": " numpy , llvm ",
        "OPMUX_PROBE_TIMEOUT": "abc",
        "OPMUX_CACHE": "nonsense",
        "OPMUX_SYNC": "nonsense",
    },
    {"OPMUX_BACKENDS": "llvm,nonsense", "OPMUX_PROBE_TIMEOUT": "nan", "OPMUX_CPU_MEMORY": "", "OPMUX_NUM_THREADS": ""},
    {
        "OPMUX_DISABLE": "nonsense,,",
        "OPMUX_PROBE_TIMEOUT": "-1",
        "OPMUX_CHECK": "nonsense",
        "OPMUX_NUM_THREADS": "100000",
    },
    {"OPMUX_BACKENDS": "", "OPMUX_PROBE_TIMEOUT": "inf", "OPMUX_CACHE": "0"},
]


@pytest.mark.parametrize("variables", HARMLESS)
def test_variables_with_values_that_do_no_harm(run: Any, variables: dict[str, str]) -> None:
    found = run(CODE, **variables)
    assert (found.returncode, found.stdout.strip()) == (0, RIGHT), found.stdout + found.stderr


@pytest.mark.parametrize(("name", "value"), [("OPMUX_BACKENDS", "nonsense"), ("OPMUX_DISABLE", "llvm,numpy")])
def test_no_backend_left_is_a_typed_error(run: Any, name: str, value: str) -> None:
    code = """
import opmux as ox
try:
    ox.exp(ox.asarray([1.0]))
except ox.UnsupportedError as error:
    print("opmux doctor" in str(error))
"""
    assert run(code, **{name: value}).stdout.strip() == "True"
