"""Entry points from metadata, names that several claim, and what the environment allows."""

from __future__ import annotations

import pytest

from opmux.core.plugins.discovery import Candidate, Selection, discover, without_duplicates


def candidate(name, distribution, *, own=False):
    return Candidate(name, f"{distribution}_module", "", distribution, "1", own)


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(site.folder)
    return site


def found(name):
    return [c for c in discover().candidates if c.name == name]


def test_module_and_attribute(installed):
    installed.distribution("acme-dist", "[opmux.backends]\nacme = acme_pkg.sub:make.plugin [extra]\n", "2.5")
    (acme,) = found("acme")
    assert (acme.module, acme.attribute) == ("acme_pkg.sub", "make.plugin")
    assert (acme.distribution, acme.version, acme.own) == ("acme-dist", "2.5", False)


def test_own_backends_are_known_by_their_distribution():
    (numpy,) = found("numpy")
    assert numpy.own
    assert numpy.module == "opmux.backends.numpy"


def test_distribution_of_another_name_is_never_own(installed):
    installed.distribution("acme-dist", "[opmux.backends]\nacme = opmux.backends.numpy\n")
    assert not found("acme")[0].own


def test_shadowed_copy_of_a_distribution_does_not_count(installed, tmp_path, monkeypatch):
    installed.distribution("acme_dist", "[opmux.backends]\nacme = old_pkg\n", "1")
    nearer = type(installed)(tmp_path / "nearer")
    nearer.distribution("Acme.Dist", "[opmux.backends]\nacme = new_pkg\n", "2")
    monkeypatch.syspath_prepend(nearer.folder)
    assert [c.module for c in found("acme")] == ["new_pkg"]


@pytest.mark.parametrize("value", ["not a module", "acme_pkg:", "acme_pkg:a b", "1acme", "acme..pkg"])
def test_malformed_value_is_refused_by_name(installed, value):
    installed.distribution("acme-dist", f"[opmux.backends]\nacme = {value}\n")
    if value == "acme_pkg:":
        assert found("acme")[0].attribute == ""
        return
    (record,) = [r for r in discover().refused if r.name == "acme"]
    assert record.reason == "broken-metadata"
    assert "is not 'package.module:attribute'" in record.message


def test_broken_metadata_of_others_is_not_read(installed):
    installed.distribution("stranger", "[console_scripts]\nno equals sign\n")
    installed.distribution("binary", "")
    (installed.folder / "binary-1.2.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe\x00")
    assert [r.name for r in discover().refused] == []


def test_own_backend_keeps_its_name():
    own, other = candidate("numpy", "opmux", own=True), candidate("numpy", "squatter")
    for order in ([own, other], [other, own]):
        judged = without_duplicates(order)
        assert judged.candidates == (own,)
        assert [(r.distribution, r.reason) for r in judged.refused] == [("squatter", "reserved-name")]


def test_neither_of_two_strangers_gets_a_name():
    judged = without_duplicates([candidate("acme", "one"), candidate("acme", "two"), candidate("zeta", "two")])
    assert [c.name for c in judged.candidates] == ["zeta"]
    assert [r.reason for r in judged.refused] == ["duplicate-name"] * 2
    assert all("one 1 and by two 1" in r.message for r in judged.refused)


@pytest.mark.parametrize(
    ("only", "disabled", "loaded"),
    [("", "", "ab"), ("a", "", "a"), (" b , a ", "", "ab"), ("", "a", "b"), ("a,b", "b", "a"), (",", ",", "ab")],
)
def test_selection(monkeypatch, only, disabled, loaded):
    monkeypatch.setenv("OPMUX_BACKENDS", only)
    monkeypatch.setenv("OPMUX_DISABLE", disabled)
    selection = Selection.from_environment()
    assert "".join(name for name in "ab" if not selection.why_not(name)) == loaded
