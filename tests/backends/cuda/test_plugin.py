"""The backend on machines without a GPU, or with one that cannot be used: what opmux and its doctor say of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: What of CuPy is asked before a GPU is used. The version and the error are filled in.
BINDINGS = """
class CUDARuntimeError(RuntimeError):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status

def driverGetVersion():
    return {driver}

def runtimeGetVersion():
    return 13020

def getDeviceCount():
    raise CUDARuntimeError{error}
"""
#: Where the environment of the tests has CuPy, as after `make gpu`.
WITHOUT_CUPY = """
import sys

class Hidden:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("cupy", "cupy_backends"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden)
"""
DOCTOR = "from opmux.cli.main import main; main()"
NO_GPU = '(100, "cudaErrorNoDevice: no CUDA-capable device is detected")'
OLD = '(35, "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")'


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with the driver's library and no CuPy; to be on the paths of modules and of libraries."""
    (tmp_path / "libcuda.so.1").touch()
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_CUPY)
    return tmp_path


def with_cupy(machine: Path, driver: int, error: str) -> Path:
    api = machine / "cupy_backends" / "cuda" / "api"
    api.mkdir(parents=True)
    (machine / "sitecustomize.py").unlink()
    (machine / "cupy.py").touch()
    for package in (api, api.parent, api.parent.parent):
        (package / "__init__.py").touch()
    (api / "runtime.py").write_text(BINDINGS.format(driver=driver, error=error))
    (api / "driver.py").write_text("class CUDADriverError(RuntimeError): pass\n")
    return machine


def told(machine: Path, code: str = DOCTOR, *arguments: str) -> tuple[int, str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(machine),
        "LD_LIBRARY_PATH": str(machine),
        "OPMUX_BACKENDS": "cuda,numpy",
        "COLUMNS": "300",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments], env=environment, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout


def doctor(machine: Path) -> tuple[int, dict[str, str]]:
    code, out = told(machine, DOCTOR, "doctor", "--json")
    return code, next(b for b in json.loads(out)["backends"] if b["name"] == "cuda")


def test_what_is_missing_is_named(machine: Path) -> None:
    code, found = doctor(machine)
    assert (code, found["state"]) == (0, "absent-hardware")
    assert found["reason"] == "not on this machine: module cupy"
    assert "pip install 'opmux[cuda]'" in found["remedy"]


def test_a_driver_without_a_gpu_is_no_fault(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    code, found = doctor(with_cupy(machine, 13000, NO_GPU))
    assert (code, found["state"], found["reason"]) == (0, "absent-hardware", "no device of kind cuda was found")


@pytest.mark.parametrize("value", ["", "-1"])
def test_a_variable_that_may_hide_all_gpus_is_named(machine: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    code, found = doctor(with_cupy(machine, 13000, NO_GPU))
    assert (code, found["state"]) == (0, "absent-hardware")
    assert found["reason"].endswith(f"was found, and CUDA_VISIBLE_DEVICES is {value!r}, which may hide it")
    assert found["remedy"].startswith("unset CUDA_VISIBLE_DEVICES; ")


def test_a_driver_that_is_too_old_is_told_with_what_to_install(machine: Path) -> None:
    code, found = doctor(with_cupy(machine, 12040, OLD))
    assert (code, found["state"]) == (3, "quarantined")
    assert "the NVIDIA driver serves CUDA 12.4 and CuPy is made for CUDA 13.2" in found["reason"]
    assert "install a newer driver" in found["reason"]
    assert "authors" not in found["remedy"]


USE = """
import sys
import opmux as ox
early = [m for m in sys.modules if m.startswith(("cupy", "opmux.backends"))]
x = ox.add(ox.asarray([1.0]), 1.0).numpy().tolist()
print(early, x, sorted(m for m in sys.modules if m.startswith("cupy")))
"""


@pytest.mark.parametrize("driver", [None, (12040, OLD), (13000, NO_GPU)])
def test_the_host_computes_as_without_it(machine: Path, driver: tuple[int, str] | None) -> None:
    if driver is not None:
        with_cupy(machine, *driver)
    code, out = told(machine, USE)
    assert code == 0
    assert out.startswith("[] [2.0] ")
    assert "'cupy'" not in out, "the whole of CuPy is imported"
    assert ("cupy_backends" in out) == (driver is not None)
