"""Round trips, the schema, and every way of tampering with a file."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from opmux.conformance.certificates.errors import CertificateError
from opmux.conformance.certificates.model import SCHEMA_VERSION, Certificate
from opmux.conformance.certificates.schema import schema, schema_faults
from opmux.conformance.certificates.store import paths_for, read, text_of, write
from opmux.core.sealed import is_intact, sealed
from tests.conformance.certificates.conftest import Made, failed


@pytest.fixture(scope="module")
def document(made: Made) -> dict[str, Any]:
    """A certificate with something in every part."""
    return made(failed("exp-float32-values"), troubles=("acme is quarantined",)).to_dict()


def test_a_certificate_comes_back_from_its_file(whole: Certificate, tmp_path: Path) -> None:
    write(whole, tmp_path / "c.json")
    again = read(tmp_path / "c.json")
    assert again == whole
    assert again.digest == whole.digest
    assert [p.name for p in tmp_path.iterdir()] == ["c.json"]


def test_the_file_is_the_document(document: dict[str, Any]) -> None:
    assert json.loads(text_of(document)) == document


def test_a_certificate_follows_the_schema(document: dict[str, Any], whole: Certificate) -> None:
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema_faults(document) == []
    assert schema_faults(whole.to_dict()) == []
    assert schema()["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        # Two of a kind are enough: a thousand rows are sealed like one.
        return [
            leaf for key, x in list(items)[:2] + list(items)[2:] * (len(path) < 1) for leaf in _leaves(x, (*path, key))
        ]
    return [path]


def _changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x" if isinstance(value, str) else "x"


def test_every_change_of_every_field_breaks_the_seal(document: dict[str, Any]) -> None:
    small = {**document, "cases": document["cases"][:3], "ops": document["ops"][:2]}
    small = sealed({**small, "claims": document["claims"][:2]})
    paths = _leaves(small)
    assert {path[0] for path in paths} == set(small)
    for path in paths:
        edited = copy.deepcopy(small)
        part = edited
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = _changed(part[path[-1]])
        assert not is_intact(edited), path


@pytest.mark.parametrize("key", ["failures", "incomplete", "cases", "run", "waivers"])
def test_leaving_a_part_out_breaks_the_seal(document: dict[str, Any], key: str) -> None:
    with pytest.raises(CertificateError, match="edited since it was sealed"):
        Certificate.from_dict({k: v for k, v in document.items() if k != key})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "sbom"}, "is no certificate"),
        ({"schema_version": "1.0"}, "this opmux reads 2.0: run the suite again"),
        ({"schema_version": "2.1"}, "this opmux reads 2.0: read it with a newer opmux"),
        ({"schema_version": None}, "calls itself a certificate and has no schema_version"),
        ({"extra": 1}, "unknown extra"),
        ({"counts": [1]}, "not an object"),
        ({"complete": 1}, "not true or false"),
        ({"assertions": True}, "not an integer"),
        ({"conformant": "core-f32"}, "not a list"),
        ({"cases": {"exp-float32": {"values": "pass"}}}, "no list of groups"),
        ({"cases": [{"pairs": ["exp-float32"], "outcomes": {"fine": ["values"]}}]}, "'fine', which is no outcome"),
        ({"cases": [{"pairs": ["exp-float32"], "outcomes": {"pass": ["b", "a"]}}]}, "out of order"),
        ({"cases": [{"pairs": ["a-b"], "outcomes": {"pass": ["x"], "fail": ["x"]}}]}, "a case is doubled"),
    ],
)
def test_what_is_sealed_and_still_no_certificate_is_a_typed_error(
    document: dict[str, Any], change: dict[str, Any], says: str
) -> None:
    with pytest.raises(CertificateError, match=says):
        Certificate.from_dict(sealed({**document, **change}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"conformant": ["core-f32"]}, "conformant"),
        ({"complete": False}, "incomplete"),
        ({"suite": {}}, "suite"),
        ({"failures": [{"id": "x"}]}, "failures"),
        ({"cases": [{"pairs": [], "outcomes": {}}]}, "cases"),
        # What a message would quote for pages is named, and nothing is cut in the middle of a word.
        ({"headline": ["a word of a long list"] * 99}, "$.headline: a list of 99 entries is not of type 'string'"),
        ({"assertions": "many words " * 99}, "$.assertions: a text of 1089 characters is not of type 'integer'"),
    ],
)
def test_the_schema_refuses(document: dict[str, Any], change: dict[str, Any], says: str) -> None:
    assert any(says in fault for fault in schema_faults(sealed({**document, **change})))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON"),
        ("[1, 2]", "is no certificate"),
        ('{"kind": "opmux-certificate", "kind": "x"}', "'kind' is given twice"),
        ('{"assertions": NaN}', "NaN is no number"),
        ("[" * 100_000, "no JSON"),
        ('{"assertions": ' + "1" * 5000 + "}", "no JSON"),
    ],
)
def test_a_broken_file_is_a_typed_error(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(CertificateError, match=says):
        read(path)


def test_a_file_that_is_not_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CertificateError, match="no JSON"):
        read(tmp_path / "c.json")
    with pytest.raises(CertificateError, match="No such file"):
        read(tmp_path / "d.json")
    with pytest.raises(CertificateError, match="Is a directory"):
        read(tmp_path)


def test_several_certificates_of_one_run_never_share_a_file(whole: Certificate) -> None:
    from dataclasses import replace

    other = replace(whole, device=replace(whole.device, name="acme:1"))
    place = Path("out/c.json")
    assert paths_for([whole], place) == [place]
    assert [p.name for p in paths_for([whole, other], place)] == ["c-numpy-cpu-0.json", "c-numpy-acme-1.json"]
