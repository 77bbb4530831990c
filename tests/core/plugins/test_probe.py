"""Probes: hangs, what is remembered of them, and what the user allows."""

from __future__ import annotations

import subprocess

import pytest

from opmux.core.plugins.probe import DEFAULT_LIMIT, time_limit

COUNTING = """
import os
with open({log!r}, "a") as file:
    file.write("x")
{more}
"""

BEGUN = """
import time
with open({file!r}, "w") as file:
    file.write(str(time.monotonic()))
while True: {forever}
"""


def counting(site, name, more=""):
    """Install a plugin that counts its imports, in probes and in hosts; return the counter."""
    log = site.folder.parent / f"{name}.log"
    package = site.plugin(name, COUNTING.format(log=str(log), more=more))

    def count():
        return len(log.read_text()) if log.exists() else 0

    return count, package


@pytest.fixture(scope="module")
def late(shared_site):
    """A host with a short limit and two plugins that never come to an end."""
    shared_site.healthy()
    for name, forever in (("hanging", "time.sleep(0.01)"), ("chatty", "print('x' * 8000)")):
        shared_site.plugin(name, BEGUN.format(file=str(shared_site.folder.parent / f"{name}.begun"), forever=forever))
    shared_site.host(OPMUX_BACKENDS="acme")  # its verdict is remembered, so the short limit is not for it
    # Long enough for an interpreter to start on a busy machine.
    return shared_site.host(OPMUX_PROBE_TIMEOUT="8", OPMUX_BACKENDS="acme,hanging,chatty")


def test_hang_is_ended_and_its_line_is_kept(late):
    record = late.failure("hanging")
    assert (record["reason"], record["stage"]) == ("hung", "import")
    assert "within 8 s" in record["message"]
    assert 'hanging_backend/__init__.py", line 5' in record["traceback"]


def test_endless_output_is_bounded(late):
    record = late.failure("chatty")
    assert record["reason"] == "hung"
    assert len(record["traceback"]) <= 64 << 10


def test_hanging_plugins_are_waited_for_together(late, shared_site):
    begun = [float((shared_site.folder.parent / f"{name}.begun").read_text()) for name in ("hanging", "chatty")]
    assert abs(begun[1] - begun[0]) < 8  # one after the other, the second would begin when the first is given up


def test_good_verdict_is_remembered_until_the_plugin_changes(site):
    count, package = counting(site, "good")
    site.host()
    assert count() == 2  # the probe, then the host
    site.host()
    assert count() == 3
    (package / "extra.py").write_text("")
    site.host()
    assert count() == 5


def test_failure_is_remembered_until_it_is_retried(site):
    count, _ = counting(site, "bad", "raise RuntimeError('no')")
    first = site.host().status("bad")
    assert count() == 1
    assert site.host().status("bad") == first
    assert count() == 1
    site.host(then="manager.load_all(retry=True)")
    assert count() == 2


def test_one_process_judges_once_even_without_a_cache(site):
    count, _ = counting(site, "bad", "raise RuntimeError('no')")
    site.host(then="manager.load_all(); manager.load_one('bad')", OPMUX_CACHE="0")
    assert count() == 1


def test_retry_gives_no_name_away(site):
    site.healthy()
    site.distribution("squatter", "[opmux.backends]\nnumpy = acme_backend\n")
    then = "manager.load_all(retry=True); report['statuses'] = [s.as_json() for s in manager.status()]"
    report = site.host(then=then, own=True)
    assert report.failure("numpy", "squatter")["reason"] == "reserved-name"
    assert report.status("numpy", "opmux")["state"] == "ready"


def test_failure_is_tried_again_after_something_was_installed(site):
    site.plugin("hopeful", "import late_dependency")
    assert site.host().states()["hopeful"] == "quarantined"
    (site.folder / "late_dependency.py").write_text("")
    assert site.host().states()["hopeful"] == "ready"


def test_unusable_cache_directory_means_a_probe_in_each_process(site):
    count, _ = counting(site, "good")
    (site.folder.parent / "cache").write_text("a file in its place")
    assert [site.host().states()["good"] for _ in range(2)] == ["ready", "ready"]
    assert count() == 4


def test_backends_variable_limits_what_is_loaded(site):
    site.healthy()
    count, _ = counting(site, "other")
    report = site.host(OPMUX_BACKENDS="acme, misspelt", own=True)
    states = report.states()
    assert (states.pop("acme"), states.pop("misspelt")) == ("ready", "quarantined")
    assert "numpy" in states
    assert set(states.values()) == {"disabled"}
    assert "OPMUX_BACKENDS names 'misspelt', which no installed" in report.status("misspelt")["reason"]
    assert count() == 0


def test_disable_variable_keeps_a_backend_out_until_it_is_asked_for(site):
    site.healthy()
    count, _ = counting(site, "other")
    then = "report['asked'] = str(manager.load_one('other').state)"
    report = site.host(OPMUX_DISABLE="other,numpy,llvm", then=then)
    assert report.status("other")["reason"] == "OPMUX_DISABLE names other"
    assert report.said["asked"] == "ready"
    assert count() == 2


@pytest.mark.parametrize("given", ["soon", "-1", "0", "nan", "inf"])
def test_limit_that_is_no_number_of_seconds_is_said_and_ignored(monkeypatch, caplog, given):
    monkeypatch.setenv("OPMUX_PROBE_TIMEOUT", given)
    assert time_limit() == DEFAULT_LIMIT
    assert f"OPMUX_PROBE_TIMEOUT={given!r} is not a number of seconds" in caplog.text


def test_probe_leaves_no_process_and_no_file_behind(site, tmp_path):
    pids = tmp_path / "pids"
    code = f"""
    import subprocess, sys
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with open({str(pids)!r}, "a") as file:
        file.write(f"{{child.pid}} ")
    raise RuntimeError
    """
    site.plugin("leaky", code)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    site.host(OPMUX_BACKENDS="leaky", TMPDIR=str(temporary))
    assert list(temporary.iterdir()) == []
    (pid,) = pids.read_text().split()
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False).stdout
    assert state.strip()[:1] in ("", "Z")  # gone, or dead and not yet collected by the system
