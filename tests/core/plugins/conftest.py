"""Plugins made on the fly, and hosts: separate processes in which they are installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest

OWN = ",".join(entry.name for entry in distribution("opmux").entry_points if entry.group == "opmux.backends")
MANIFEST = 'name = "{name}"\nspi = "0.1"\nopset = ">=0.1,<1"\n'

DRIVER = """
import numpy as np
from opmux.plugin import DeviceInfo, Kernel, hookimpl

class Driver:
    def __init__(self, kind):
        self.info = DeviceInfo(kind, "a device for tests", 1 << 20)
    def open_queue(self): return object()
    def alloc(self, nbytes, queue): return np.zeros(nbytes, np.uint8)
    def free(self, handle, last_uses): pass
    def pointer(self, handle, offset): return (handle, offset)
    def upload(self, handle, offset, source, queue): handle[offset:offset + source.size] = source
    def download(self, target, handle, offset, queue): target[:] = handle[offset:offset + target.size]
    def record(self, queue): return None
    def wait(self, queue, event): pass
    def synchronize(self, queue): pass

@hookimpl
def opmux_devices():
    return [Driver("{kind}")]

@hookimpl
def opmux_kernels():
    return [Kernel("exp", "exp", "{kind}", lambda spec: None)]
"""

# The report goes to a file: plugins print. What the healthy device can do is tried, not only listed.
HOST = """
import json, sys
import opmux
early = sorted(m for m in sys.modules if m.endswith("_backend") or m == "opmux.core.plugins.manager")
from opmux.core.plugins import manager
report = {"early": early, "statuses": [s.as_json() for s in manager.status()]}
report["imported"] = sorted(m for m in sys.modules if m.endswith("_backend"))
import numpy as np
from opmux.core.devices.device import DEVICES
device = {d.name: d for d in DEVICES}.get("acme:0")
if device is not None:
    queue, handle, back = device.driver.open_queue(), device.driver.alloc(4, None), np.zeros(4, np.uint8)
    device.driver.upload(handle, 0, np.arange(4, dtype=np.uint8), queue)
    device.driver.download(back, handle, 0, queue)
    report["round_trip"] = back.tolist()
exec(sys.argv[2])
with open(sys.argv[1], "w") as file:
    json.dump(report, file)
"""


@dataclass
class Report:
    """What a host said of its backends."""

    said: dict
    stdout: str
    stderr: str
    seconds: float

    def status(self, name: str, distribution: str | None = None) -> dict:
        found = [s for s in self.said["statuses"] if s["name"] == name and distribution in (None, s["distribution"])]
        assert len(found) == 1, (name, found)
        return found[0]

    def states(self) -> dict[str, str]:
        return {s["name"]: s["state"] for s in self.said["statuses"]}

    def failure(self, name: str, distribution: str | None = None) -> dict:
        """The quarantine record of a backend, after checking that nobody else was hurt."""
        assert self.said["early"] == []
        assert self.status("acme")["state"] == "ready"
        assert self.said["round_trip"] == [0, 1, 2, 3]
        status = self.status(name, distribution)
        assert status["state"] == "quarantined"
        assert status["remedy"]
        return status["quarantine"]


class Site:
    """A directory on the path with distributions in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)

    def package(self, name: str, code: str, manifest: str | None = MANIFEST) -> Path:
        """Write the package ``<name>_backend`` and return its folder."""
        package = self.folder / f"{name}_backend"
        package.mkdir()
        (package / "__init__.py").write_text(textwrap.dedent(code))
        if manifest is not None:
            (package / "opmux-backend.toml").write_text(manifest.format(name=name))
        return package

    def distribution(self, name: str, entry_points: str, version: str = "1.2") -> None:
        """Write the metadata of a distribution."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)

    def plugin(self, name: str, code: str = "", manifest: str | None = MANIFEST) -> Path:
        """Install a backend: a package, and a distribution ``<name>-dist`` that announces it."""
        self.distribution(f"{name}-dist", f"[opmux.backends]\n{name} = {name}_backend\n")
        return self.package(name, code, manifest)

    def healthy(self, name: str = "acme") -> Path:
        """Install a backend with a device of its own."""
        return self.plugin(name, DRIVER.replace("{kind}", name), MANIFEST + f'devices = ["{name}"]\n')

    def host(self, *, then: str = "", own: bool = False, **environment: str) -> Report:
        """Start a process with this site on its path, load the backends there, and return what it says.

        opmux's own backends are left out, to save time, unless asked for.
        """
        if not own:
            environment = {"OPMUX_DISABLE": OWN, **environment}
        report = self.folder.parent / f"report-{os.urandom(4).hex()}.json"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OPMUX_")}
        process = subprocess.Popen(
            [sys.executable, "-c", HOST, str(report), then],
            env={
                **inherited,
                "PYTHONPATH": str(self.folder),
                "OPMUX_CACHE_DIR": str(self.folder.parent / "cache"),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started = time.monotonic()
        try:
            stdout, stderr = process.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, stderr
        return Report(json.loads(report.read_text()), stdout, stderr, time.monotonic() - started)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("plugins") / "site")
