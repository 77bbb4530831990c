"""The static manifest: where it is looked for, and what is said about a wrong one."""

from __future__ import annotations

import sys

import pytest

from opmux.core.errors import PluginError
from opmux.core.plugins import manifest
from opmux.core.plugins.requirements import Requirement, missing

GOOD = 'name = "acme"\nspi = "0.1"\nopset = ">=0.1,<1"\n'


def parse(text, tmp_path):
    return manifest.parse(text.encode(), tmp_path / manifest.FILE_NAME)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package ``outer_acme.inner.leaf`` whose modules must not be imported."""
    folder = tmp_path / "outer_acme"
    (folder / "inner").mkdir(parents=True)
    for file in ("__init__.py", "inner/__init__.py", "inner/leaf.py"):
        (folder / file).write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_values(tmp_path):
    text = GOOD + 'version = "3"\ndevices = ["acme"]\ninstall = "do"\nhidden_by = ["A_B"]\n'
    text += 'requires = [{module = "m"}, {file = "/f"}]\n'
    found = parse(text, tmp_path)
    assert (found.name, found.version, found.spi, found.opset) == ("acme", "3", "0.1", ">=0.1,<1")
    assert (found.devices, found.install, found.hidden_by) == (("acme",), "do", ("A_B",))
    assert found.requires == (Requirement("module", "m"), Requirement("file", "/f"))


def test_defaults(tmp_path):
    found = parse(GOOD, tmp_path)
    assert (found.version, found.devices, found.requires, found.install) == ("dynamic", (), (), "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "is not TOML"),
        ("\x00", "is not TOML"),
        ('name = "acme"\n', "missing key 'spi'; required are name, spi, opset"),
        (GOOD + "device = []\n", "unknown key 'device'; did you mean 'devices'? the keys are name, version"),
        (GOOD.replace('"0.1"', "0.1"), "key 'spi' is 0.1: must be a non-empty string"),
        (GOOD.replace('"0.1"', '"new"'), "key 'spi' is 'new': 'new' is not a dotted version"),
        (GOOD.replace(">=0.1,<1", "0.1"), "'0.1' is not a clause such as '>=0.1'"),
        (GOOD.replace("acme", "Acme!"), "key 'name' is 'Acme!': must be a string of lower-case"),
        (GOOD + 'devices = "acme"\n', "must be a list of device kinds"),
        (GOOD + 'devices = ["cpu"]\n', "must not contain 'cpu'"),
        (GOOD + 'devices = ["a", "a"]\n', "twice"),
        (GOOD + 'requires = ["numpy"]\n', "exactly one of module, library, file"),
        (GOOD + 'requires = [{module = "a", file = "b"}]\n', "entry 0 has 'module', 'file'"),
        (GOOD + 'requires = [{module = "a.b"}]\n', "must name a top-level module"),
        (GOOD + "install = 3\n", "key 'install' is 3"),
        (GOOD + 'hidden_by = ["A B"]\n', "must be a list of environment variables"),
    ],
)
def test_wrong_one_is_refused_with_file_and_key(tmp_path, text, said):
    with pytest.raises(PluginError) as error:
        parse(text, tmp_path)
    assert said in str(error.value)
    assert str(tmp_path / "opmux-backend.toml") in str(error.value)
    assert error.value.reason == "bad-manifest"


def test_all_faults_are_named_at_once(tmp_path):
    with pytest.raises(PluginError) as error:
        parse("name = 1\nfoo = 2\n", tmp_path)
    assert len(error.value.faults) == 4


@pytest.mark.parametrize(("placed", "expected"), [((".", "inner"), "inner"), ((".",), ".")])
def test_nearest_counts_and_nothing_is_imported(package, placed, expected):
    for place in placed:
        (package / place / manifest.FILE_NAME).write_text(GOOD)
    assert manifest.find("outer_acme.inner.leaf").path.parent == (package / expected)
    assert not any(name.startswith("outer_acme") for name in sys.modules)


def test_absent_one_names_the_folder(package):
    with pytest.raises(PluginError, match=r"no opmux-backend.toml in the package of 'outer_acme.inner'") as error:
        manifest.find("outer_acme.inner")
    assert str(package) in str(error.value)


def test_manifest_of_another_package_is_not_taken(package):
    (package.parent / manifest.FILE_NAME).write_text(GOOD)
    with pytest.raises(PluginError, match="no opmux-backend"):
        manifest.find("outer_acme.inner")


def test_lone_module_is_refused(tmp_path, monkeypatch):
    (tmp_path / "lone_acme.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="a backend is a package"):
        manifest.find("lone_acme")


def test_absent_package_is_named():
    with pytest.raises(PluginError, match="'nowhere_acme', which is not on the path"):
        manifest.find("nowhere_acme.backend")


def test_oversized_file_is_refused(package):
    (package / manifest.FILE_NAME).write_bytes(b"#" * (1 << 17))
    with pytest.raises(PluginError, match="larger than"):
        manifest.find("outer_acme")


def test_requirements(tmp_path):
    present = {"module": "numpy", "file": str(tmp_path), "library": "libc.so.6"}
    absent = {"module": "nowhere_acme", "file": "/no/file", "library": "libnowhere.so.9"}
    met, unmet = ([Requirement(*pair) for pair in kinds.items()] for kinds in (present, absent))
    assert missing([*met, *unmet]) == tuple(unmet)


def test_library_beside_the_loaders_path_is_found(tmp_path, monkeypatch):
    (tmp_path / "libacme.so.1").write_bytes(b"")
    assert missing([Requirement("library", "libacme.so.1")])
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{tmp_path}")
    assert missing([Requirement("library", "libacme.so.1")]) == ()
