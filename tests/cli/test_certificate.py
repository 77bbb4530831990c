"""The certificate commands: what they print, what they write, and their exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opmux.conformance.cases.enumerate import case_ids
from opmux.conformance.certificates.assemble import Evidence, assemble
from opmux.conformance.certificates.model import Certificate
from opmux.conformance.certificates.reconcile import all_ids
from opmux.conformance.certificates.store import read, write
from opmux.core.sealed import sealed

from .conftest import Command

COMMANDS = ("show", "diff", "verify", "merge", "summary", "sign", "key")


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of one op, made by the command in a process of its own."""
    path = tmp_path_factory.mktemp("certificates") / "negative.json"
    arguments = ["--backend", "numpy", "--op", "negative", "--dtype", "int32", "--certificate", str(path)]
    # What a caller's pytest is told is nothing to the command.
    environment = {**os.environ, "PYTEST_ADDOPTS": "--collect-only", "OPMUX_CACHE_DIR": str(path.parent / "cache")}
    found = subprocess.run(
        [sys.executable, "-c", "from opmux.cli.main import main; main()", "conformance", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "NOT SUFFICIENT" in found.stderr
    return path


@pytest.fixture
def whole(partial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with a pass for every case of a suite that has three of each op and dtype."""

    def few(op: str, dtype: str, quick: bool = False, seed: int = 0) -> tuple[str, ...]:
        return case_ids(op, dtype, quick, seed)[:3]

    for module in ("certificates.reconcile", "results.profiles"):
        monkeypatch.setattr(f"opmux.conformance.{module}.case_ids", few)
    c = read(partial)
    cases = {pair: {case.removeprefix(f"{pair}-"): "pass" for case in ids} for pair, ids in all_ids(0).items() if ids}
    e = replace(Evidence.of(c), cases=cases, incomplete=(), run=replace(c.run, partial=False), assertions=10**6)
    path = tmp_path / "whole.json"
    write(assemble(e), path)
    return path


def _edited(path: Path, folder: Path, *, seal: bool = True, **changes: Any) -> str:
    document = {**json.loads(path.read_text()), **changes}
    made = folder / "edited.json"
    made.write_text(json.dumps(sealed(document) if seal else document))
    return str(made)


def test_a_run_writes_a_certificate_of_what_it_found(partial: Path) -> None:
    c = read(partial)
    assert {"partial", "absent"} <= {o.reason for o in c.incomplete}
    assert (c.backend.name, c.device.name, c.run.isolated) == ("numpy", "cpu:0", True)
    assert c.run.command == "opmux conformance --backend numpy --op negative --dtype int32"
    assert sum(c.counts.values()) == c.counts["pass"] > 5
    assert c.conformant == ()
    assert c.backend.dependencies["numpy"] == c.environment["numpy"]


def test_show_begins_with_the_verdict(opmux: Command, partial: Path, whole: Path) -> None:
    status, out, _ = opmux("certificate", "show", str(partial))
    assert status == 0
    assert out.startswith("NOT SUFFICIENT: numpy")
    status, out, _ = opmux("certificate", "show", str(whole))
    assert out.splitlines()[0].startswith("conformant to core-f32")
    assert out.splitlines()[0].endswith("(self-declared)")


def test_json_is_the_certificate(as_json: Callable[..., Any], partial: Path) -> None:
    shown = as_json("certificate", "show", str(partial))
    assert shown.pop("standing") == "self-declared"
    assert Certificate.from_dict(shown) == read(partial)


def test_verify_and_its_exit_status(opmux: Command, partial: Path, tmp_path: Path) -> None:
    status, out, _ = opmux("certificate", "verify", str(partial))
    assert (status, out.splitlines()[-1]) == (0, "verified")
    status, out, _ = opmux("certificate", "verify", str(partial), "--profile", "core-f32")
    assert (status, out.splitlines()[-1]) == (1, "NOT VERIFIED")
    status, out, err = opmux("certificate", "verify", str(partial), "--profile", "core-f23")
    assert (status, out) == (2, "")
    assert "did you mean 'core-f32'" in err
    status, out, _ = opmux("certificate", "verify", _edited(partial, tmp_path, seal=False, assertions=10**6))
    assert status == 1
    assert "seal: WRONG: it was edited" in out


def test_verify_runs_cases_again(as_json: Callable[..., Any], partial: Path) -> None:
    found = as_json("certificate", "verify", str(partial), "--rerun", "2", "--seed", "3")
    assert found["fine"]
    assert found["checks"][-1]["name"] == "rerun (seed 3)"
    assert "2 cases passed again: negative-int32-" in found["checks"][-1]["text"]


def test_diff_and_its_exit_status(opmux: Command, whole: Path, tmp_path: Path) -> None:
    c = read(whole)
    cases = {**c.cases, "exp-float32": {**c.cases["exp-float32"], "values": "fail"}}
    write(assemble(replace(Evidence.of(c), cases=cases)), tmp_path / "worse.json")
    old, new = str(whole), str(tmp_path / "worse.json")
    status, out, _ = opmux("certificate", "diff", old, new)
    assert (status, out.split(":")[0]) == (0, "BREAKING")
    assert opmux("certificate", "diff", old, new, "--exit-code")[0] == 1
    assert opmux("certificate", "diff", new, old, "--exit-code")[0] == 0
    assert opmux("certificate", "diff", old, old, "--exit-code")[0] == 0
    status, out, _ = opmux("certificate", "diff", old, new, "--exit-code", "--json")
    assert status == 1
    assert json.loads(out)["is_breaking"]


def test_shards_are_merged_or_refused(opmux: Command, whole: Path, tmp_path: Path) -> None:
    from opmux.conformance.certificates.reconcile import reconcile
    from opmux.conformance.running.selection import Shard

    c, parts = read(whole), []
    for i in (1, 2):
        shard = Shard(i, 2)
        cases = {p: {k: v for k, v in rest.items() if shard.holds(f"{p}-{k}")} for p, rest in c.cases.items()}
        run = replace(c.run, shards=(str(shard),))
        e = replace(Evidence.of(c), cases=cases, run=run, incomplete=reconcile(cases, run, c.backend))
        parts.append(str(tmp_path / f"{i}.json"))
        write(assemble(e), Path(parts[-1]))
    made = tmp_path / "merged.json"
    status, out, err = opmux("certificate", "merge", *parts, "--output", str(made))
    assert status == 0, err
    assert out.startswith("conformant to core-f32")
    assert read(made).run.shards == ("1/2", "2/2")
    status, _, err = opmux("certificate", "merge", parts[0], parts[0], "-o", str(tmp_path / "no.json"))
    assert status == 2
    assert "shard 2/2 is missing" in err
    assert not (tmp_path / "no.json").exists()


def test_summary_and_badge(opmux: Command, partial: Path, tmp_path: Path) -> None:
    status, out, _ = opmux("certificate", "summary", str(partial), "--badge", str(tmp_path / "b.svg"))
    assert status == 0
    assert out.startswith("# NOT SUFFICIENT")
    assert "opmux: not sufficient" in (tmp_path / "b.svg").read_text()


def test_a_key_a_signature_and_who_trusts_it(opmux: Command, whole: Path, tmp_path: Path) -> None:
    key, made = tmp_path / "acme.pem", tmp_path / "signed.json"
    assert opmux("certificate", "key", str(key))[0] == 0
    status, out, _ = opmux("certificate", "sign", str(whole), "--key", str(key), "-o", str(made))
    assert status == 0
    assert "signed by an unknown key, SHA256:" in out
    assert opmux("certificate", "verify", str(made), "--public-key", f"{key}.pub")[0] == 0
    assert opmux("certificate", "verify", str(whole), "--public-key", f"{key}.pub")[0] == 1
    status, _, err = opmux("certificate", "key", str(key))
    assert status == 2
    assert "never overwritten" in err


def test_a_badge_says_signed_only_to_who_trusts_the_key(opmux: Command, whole: Path, tmp_path: Path) -> None:
    key, made, badge = tmp_path / "a.pem", str(tmp_path / "signed.json"), tmp_path / "b.svg"
    opmux("certificate", "key", str(key))
    opmux("certificate", "sign", str(whole), "--key", str(key), "-o", made)
    opmux("certificate", "summary", made, "--badge", str(badge))
    assert "(self-declared)" in badge.read_text()
    opmux("certificate", "summary", made, "--badge", str(badge), "--public-key", f"{key}.pub")
    assert "(signed)" in badge.read_text()


def test_a_baseline_forgives_what_it_knows_and_nothing_else(opmux: Command, partial: Path, tmp_path: Path) -> None:
    edited = _edited(partial, tmp_path, seal=False, assertions=1)
    status, _, err = opmux("conformance", "--backend", "numpy", "--op", "negative", "--baseline", edited)
    assert status == 2
    assert "edited since it was sealed" in err


def test_a_certificate_that_cannot_be_written_is_said_before_the_run(opmux: Command, tmp_path: Path) -> None:
    status, _, err = opmux("conformance", "--certificate", str(tmp_path / "none" / "c.json"))
    assert status == 2
    assert "cannot write" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(opmux: Command, command: str) -> None:
    status, out, _ = opmux("certificate", command, "--help")
    assert status == 0
    assert f"opmux certificate {command}" in " ".join(out.split())
    assert "--json" in out


@pytest.mark.parametrize("command", ["show", "verify", "summary"])
@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot read"), ("{", "no JSON"), ("{}", "has no 'kind'"), ("[]", "holds [] and not an object")],
)
def test_what_is_no_certificate(opmux: Command, tmp_path: Path, command: str, content: str | None, says: str) -> None:
    path = tmp_path / "c.json"
    if content is not None:
        path.write_text(content)
    status, out, err = opmux("certificate", command, str(path))
    assert (status, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [("show",), ("summary",), ("sign", "--key", "k.pem")])
def test_an_edited_certificate_is_refused(
    opmux: Command, partial: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = _edited(partial, tmp_path, seal=False, headline="conformant to everything")
    status, out, err = opmux("certificate", command[0], path, *command[1:])
    assert (status, out) == (2, "")
    assert "edited since it was sealed" in err


def test_a_newer_format_is_refused_by_name(opmux: Command, partial: Path, tmp_path: Path) -> None:
    status, _, err = opmux("certificate", "verify", _edited(partial, tmp_path, schema_version="3.0"))
    assert status == 2
    assert "schema_version '3.0'; this opmux reads 2.0: read it with a newer opmux" in err
