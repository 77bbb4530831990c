"""Keys and signatures: of this certificate, by this key, and of nothing else."""

from __future__ import annotations

import builtins
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opmux.conformance.certificates.errors import CertificateError
from opmux.conformance.certificates.model import Certificate, Signature
from opmux.conformance.certificates.sign import check, new_key, signed
from opmux.core.errors import ArgumentError


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key(tmp_path / "acme.pem")
    return tmp_path / "acme.pem"


def _public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def test_a_key_is_for_its_owner_alone_and_never_overwritten(key: Path) -> None:
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    for kept in (key, _public(key)):
        with pytest.raises(CertificateError, match="never overwritten"):
            new_key(key)
        kept.unlink()
        if kept == key:
            assert not key.exists()
            key.write_bytes(before)


def test_unsigned_is_self_declared(whole: Certificate, key: Path) -> None:
    assert check(whole) == "self-declared"
    with pytest.raises(CertificateError, match="not signed"):
        check(whole, _public(key))


def test_a_signature_by_the_trusted_key(whole: Certificate, key: Path) -> None:
    made = signed(whole, key)
    assert made.digest == whole.digest
    assert check(made, _public(key)).startswith("signed by SHA256:")
    assert "unknown key, SHA256:" in check(made)
    again = Certificate.from_dict(made.to_dict())
    assert again == made


def test_a_signature_by_another_key_says_whose(whole: Certificate, key: Path, tmp_path: Path) -> None:
    new_key(tmp_path / "other.pem")
    with pytest.raises(CertificateError, match=r"signed by SHA256:\S+, and not by .*other\.pem\.pub, which is SHA256:"):
        check(signed(whole, key), tmp_path / "other.pem.pub")


def test_a_signature_of_another_certificate_is_none(whole: Certificate, key: Path) -> None:
    other = replace(whole, signature=signed(whole, key).signature, headline="conformant to everything")
    with pytest.raises(CertificateError, match="not of this certificate"):
        check(other, _public(key))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"algorithm": "none"}, "signed with 'none'"),
        ({"value": "AAAA"}, "not of this certificate"),
        ({"value": "not base64!"}, "not of this certificate"),
        ({"public_key": "AAAA"}, "no Ed25519 key"),
    ],
)
def test_a_broken_signature(whole: Certificate, key: Path, change: dict[str, Any], says: str) -> None:
    given = signed(whole, key).signature
    assert given is not None
    with pytest.raises(CertificateError, match=says):
        check(replace(whole, signature=replace(given, **change)))


def test_editing_and_sealing_again_drops_the_signature(whole: Certificate, key: Path) -> None:
    from opmux.core.sealed import sealed

    edited = sealed({**signed(whole, key).to_dict(), "headline": "conformant to everything"})
    assert "signature" not in edited


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "nothing: it is empty"),
        (b"ssh-ed25519 AAAA me@here\n", "no PEM, which begins with"),
        (b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", "a private key, or what is left of one"),
    ],
)
def test_a_file_without_a_key(whole: Certificate, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "k.pem"
    path.write_bytes(content)
    with pytest.raises(CertificateError, match=rf"k\.pem holds {says}.*; signing takes a private .* key FILE` makes"):
        signed(whole, path)
    made = replace(whole, signature=Signature("ed25519", "", ""))
    with pytest.raises(CertificateError, match=rf"k\.pem holds {says}.*; checking .* public .* writes it to FILE\.pub"):
        check(made, path)


def test_one_key_is_not_taken_for_the_other(whole: Certificate, key: Path) -> None:
    with pytest.raises(CertificateError, match=r"acme\.pem\.pub holds a public key.*; signing takes a private"):
        signed(whole, _public(key))
    with pytest.raises(
        CertificateError, match=r"acme\.pem holds a private key.*; checking .* takes the signer's public"
    ):
        check(signed(whole, key), key)


def test_keys_of_another_algorithm_and_with_a_passphrase_are_named(whole: Certificate, key: Path) -> None:
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec

    other, locked = ec.generate_private_key(ec.SECP256R1()), forms.BestAvailableEncryption(b"secret")
    for encryption, says in ((forms.NoEncryption(), "another algorithm, E"), (locked, "with a passphrase")):
        key.write_bytes(other.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, encryption))
        with pytest.raises(CertificateError, match=f"holds a private key .*{says}.*; signing takes"):
            signed(whole, key)


def test_without_cryptography_the_extra_is_named(
    whole: Certificate, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ArgumentError, match=r"pip install 'opmux\[sign\]'"):
        signed(whole, key)
