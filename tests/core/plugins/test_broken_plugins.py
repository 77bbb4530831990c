"""Every way in which a plugin can be broken, all installed at once: each costs itself only."""

from __future__ import annotations

import json

import pytest

MANIFEST = 'name = "{name}"\nspi = "0.1"\nopset = ">=0.1,<1"\n'
KERNEL = """
from opmux.plugin import Kernel, hookimpl

@hookimpl
def opmux_kernels():
    return [Kernel("k", "no_such_op", "cpu", lambda spec: None)]
"""
HOOK = "from opmux.plugin import hookimpl\n@hookimpl\ndef {signature}:\n    {body}\n"
SEGFAULT = "import ctypes; ctypes.string_at(0)"
NESTED = """
import subprocess, sys
code = "from opmux.core.plugins import manager; manager.status()"
subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
"""

#: Name -> code of the package. What is broken by its manifest or metadata is below.
CODE = {
    "needy": "import acme_runtime_that_is_absent",
    "raising": "raise RuntimeError('built for another planet')",
    "segfault": SEGFAULT,
    "late_segfault": HOOK.format(signature="opmux_kernels()", body=SEGFAULT),
    "exit_segfault": "import atexit, os, signal; atexit.register(os.kill, os.getpid(), signal.SIGSEGV)",
    "leaving": "import sys; sys.exit('bye')",
    "vanishing": "import os; os._exit(0)",
    "hook_fails": HOOK.format(signature="opmux_devices()", body="raise OSError('the driver says no')"),
    "wrong_signature": HOOK.format(signature="opmux_kernels(device, dtype)", body="return []"),
    "misspelt_hook": HOOK.format(signature="opmux_kernals()", body="return []"),
    "unmarked_hook": "def opmux_kernels():\n    return []",
    "no_list": HOOK.format(signature="opmux_kernels()", body="return 7"),
    "wrong_types": HOOK.format(signature="opmux_devices()", body="return [object()]"),
    "unknown_op": KERNEL,
    "printing": "print('hello from the vendor')",
    "nested": NESTED,
}
MANIFESTS = {
    "other_spi": MANIFEST.replace('"0.1"', '"9.0"'),
    "no_manifest": None,
    "bad_keys": 'name = "bad_keys"\nspi = 0.1\ndevice = ["x"]\n',
    "other_name": MANIFEST.replace("{name}", "someone_else"),
    "cpu_thief": MANIFEST + 'devices = ["cpu"]\n',
    "rival_a": MANIFEST + 'devices = ["loot"]\n',
    "rival_b": MANIFEST + 'devices = ["loot"]\n',
    "absent": MANIFEST + 'install = "pip install acme-driver"\nrequires = [{{ library = "libnowhere.so.9" }}]\n',
}


@pytest.fixture(scope="module")
def report(shared_site):
    shared_site.healthy()
    for name, code in CODE.items():
        shared_site.plugin(name, code)
    for name, manifest in MANIFESTS.items():
        shared_site.plugin(name, "raise AssertionError('nobody may import this')", manifest)
    shared_site.package("first_twin", "", MANIFEST.replace("{name}", "twin"))
    shared_site.package("second_twin", "", MANIFEST.replace("{name}", "twin"))
    shared_site.distribution("first-twin", "[opmux.backends]\ntwin = first_twin_backend\n")
    shared_site.distribution("second-twin", "[opmux.backends]\ntwin = second_twin_backend\n")
    shared_site.distribution("squatter", "[opmux.backends]\nnumpy = acme_backend\n")
    shared_site.distribution("torn", "[opmux.backends]\nthis line is not an entry point\n")
    return shared_site.host(own=True)


@pytest.mark.parametrize(
    ("name", "reason", "stage", "said"),
    [
        ("needy", "import-error", "import", "No module named 'acme_runtime_that_is_absent'"),
        ("raising", "exception", "import", "built for another planet"),
        ("segfault", "crashed", "import", "SIGSEGV while it was imported"),
        ("late_segfault", "crashed", "hooks", "SIGSEGV while its hooks were called"),
        ("exit_segfault", "crashed", "exit", "SIGSEGV after it had answered"),
        ("leaving", "exited", "import", "tried to end the process: SystemExit: bye"),
        ("vanishing", "exited", "import", "ended the process with status 0 while it was imported"),
        ("hook_fails", "exception", "hooks", "opmux_devices() raised OSError: the driver says no"),
        ("wrong_signature", "hook-signature", "hooks", "opmux_kernels(device, dtype) is called without arguments"),
        ("misspelt_hook", "hook-signature", "hooks", "opmux_kernals() is marked as a hook"),
        ("unmarked_hook", "hook-signature", "hooks", "opmux_kernels() is not marked with @hookimpl"),
        ("no_list", "invalid", "hooks", "returned 7"),
        ("wrong_types", "invalid", "validation", "info is None, not a DeviceInfo"),
        ("unknown_op", "invalid", "validation", "'no_such_op', which is not an op"),
        ("nested", "recursive", "exit", "starts a process that loads the backends"),
        ("other_spi", "spi-version", "manifest", "made for interface 9.0; this opmux has 0.1"),
        ("no_manifest", "no-manifest", "manifest", "no opmux-backend.toml in the package of 'no_manifest_backend'"),
        ("bad_keys", "bad-manifest", "manifest", "missing key 'opset'"),
        ("other_name", "bad-manifest", "manifest", "name is 'someone_else', but the entry point is named 'other_name'"),
        ("cpu_thief", "bad-manifest", "manifest", "must not contain 'cpu'"),
        ("rival_a", "device-kind-taken", "manifest", "'loot' of rival_a is claimed by rival_b (rival_b-dist 1.2) too"),
        ("rival_b", "device-kind-taken", "manifest", "'loot' of rival_b is claimed by rival_a (rival_a-dist 1.2) too"),
        ("torn", "broken-metadata", "discovery", "reading the metadata of torn"),
    ],
)
def test_record_carries_the_cause(report, name, reason, stage, said):
    record = report.failure(name)
    assert (record["reason"], record["stage"]) == (reason, stage)
    assert said in record["message"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("needy", 'needy_backend/__init__.py", line 1'),
        ("raising", "RuntimeError: built for another planet"),
        ("segfault", "string_at"),
        ("late_segfault", "in opmux_kernels"),
        ("hook_fails", "in opmux_devices"),
    ],
)
def test_record_keeps_the_traceback_down_to_the_vendors_line(report, name, said):
    assert said in report.failure(name)["traceback"]


@pytest.mark.parametrize(("mine", "other"), [("first-twin", "second-twin"), ("second-twin", "first-twin")])
def test_both_claimants_of_one_name_are_refused(report, mine, other):
    record = report.failure("twin", mine)
    assert record["reason"] == "duplicate-name"
    assert f"{other} 1.2" in record["message"]


def test_nobody_takes_the_name_of_an_own_backend(report):
    assert report.failure("numpy", "squatter")["reason"] == "reserved-name"
    assert report.status("numpy", "opmux")["version"] != ""


def test_healthy_plugin_brings_its_devices_and_kernels(report):
    status = report.status("acme")
    assert (status["devices"], status["kernels"], status["version"]) == (["acme:0"], 1, "1.2")
    assert (status["reason"], status["remedy"], status["quarantine"]) == ("", "", None)


def test_plugin_that_prints_is_ready(report):
    assert report.status("printing")["state"] == "ready"


def test_absent_hardware_is_no_fault(report):
    status = report.status("absent")
    assert status["state"] == "absent-hardware"
    assert "library libnowhere.so.9" in status["reason"]
    assert status["remedy"] == "pip install acme-driver"


def test_what_is_kept_out_is_never_imported_by_the_host(report):
    assert report.said["imported"] == ["acme_backend", "printing_backend"]


def test_each_refusal_is_said_once_on_standard_error(report):
    lines = [line for line in report.stderr.splitlines() if "backend segfault is kept out" in line]
    assert len(lines) == 1


def test_own_backends_are_as_without_any_plugin(report, site):
    own = [s for s in report.said["statuses"] if s["distribution"] == "opmux"]
    assert own == site.host(own=True).said["statuses"]
    assert len(own) >= 2


def test_statuses_are_plain_json(report):
    assert json.loads(json.dumps(report.said)) == report.said
