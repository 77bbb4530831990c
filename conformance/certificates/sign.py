"""Signatures: who vouches for a certificate. Ed25519 (RFC 8032) over the certificate's digest.

A seal says that nothing was changed since; a signature says by whom. Neither says that the signer ran the suite.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import CertificateError, missing_extra
from .model import KIND, Certificate, Signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM: Final = "ed25519"
#: The line with which a PEM begins (RFC 7468).
_LABEL: Final = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)


def new_key(path: Path) -> Path:
    """Write a new private key, readable by its owner alone, and beside it the public key; return where that is.

    Raises:
        CertificateError: either file is there already, or cannot be written.
        ArgumentError: cryptography is not installed.
    """
    keys = _keys()
    from cryptography.hazmat.primitives import serialization as forms

    public_path = path.with_name(f"{path.name}.pub")
    made = keys.Ed25519PrivateKey.generate()
    secret = made.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    public = made.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    if public_path.exists():
        raise CertificateError(f"{public_path} is there already; keys are never overwritten", path=str(public_path))
    _create(path, secret, 0o600)
    _create(public_path, public, 0o644)
    return public_path


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise CertificateError(f"{path} is there already; keys are never overwritten", path=str(path)) from error
    except OSError as error:
        raise CertificateError(f"cannot write {path}: {error.strerror}", path=str(path)) from error


def signed(certificate: Certificate, key: Path) -> Certificate:
    """Return a certificate with a signature of its digest; an earlier one is replaced.

    Args:
        certificate: to vouch for.
        key: file of an Ed25519 private key, PEM without a passphrase.

    Raises:
        CertificateError: the file holds no such key.
        ArgumentError: cryptography is not installed.
    """
    private = _private(key)
    public = private.public_key().public_bytes_raw()
    value = private.sign(_message(certificate))
    return replace(certificate, signature=Signature(ALGORITHM, _text(public), _text(value)))


def check(certificate: Certificate, trusted: Path | None = None) -> str:
    """Return what its signature says, in a few words, ``"self-declared"`` where it has none.

    Args:
        certificate: to check.
        trusted: file of the public key that must have signed it.

    Raises:
        CertificateError: the signature is not of this certificate, or not by the trusted key.
        ArgumentError: cryptography is not installed.
    """
    given = certificate.signature
    if given is None:
        if trusted is not None:
            raise CertificateError(f"it is not signed, so not by {trusted}: self-declared")
        return "self-declared"
    keys = _keys()
    from cryptography.exceptions import InvalidSignature

    wanted = None if trusted is None else _public(trusted)
    try:
        public, value = base64.b64decode(given.public_key, validate=True), base64.b64decode(given.value, validate=True)
        if given.algorithm != ALGORITHM:
            raise CertificateError(f"it is signed with {given.algorithm!r}; this opmux knows {ALGORITHM}")
        keys.Ed25519PublicKey.from_public_bytes(public).verify(value, _message(certificate))
    except (InvalidSignature, binascii.Error) as error:
        raise CertificateError("its signature is not of this certificate") from error
    except ValueError as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"its signature has no Ed25519 key: {error}") from error
    print_of = fingerprint(public)
    if wanted is None:
        return f"signed by an unknown key, {print_of}; --public-key says whether it is the one that you trust"
    if wanted != public:
        raise CertificateError(f"it is signed by {print_of}, and not by {trusted}, which is {fingerprint(wanted)}")
    return f"signed by {print_of}, the key in {trusted}"


def standing(certificate: Certificate) -> str:
    """Return what is known of its origin without checking: for headlines and badges."""
    return "self-declared" if certificate.signature is None else "signed, not checked"


def fingerprint(public: bytes) -> str:
    """Return the name that people compare keys by: SHA-256 of the 32 bytes of a public key."""
    return f"SHA256:{_text(hashlib.sha256(public).digest()).rstrip('=')}"


def _message(certificate: Certificate) -> bytes:
    # The prefix keeps a signature of a certificate from being one of anything else.
    return f"{KIND}\0{certificate.schema_version}\0{certificate.digest}".encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


class _Keys:
    """The two classes that are used of cryptography, which is an extra."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ed25519

        self.Ed25519PrivateKey, self.Ed25519PublicKey = ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey


def _keys() -> _Keys:
    try:
        return _Keys()
    except ImportError as error:
        raise missing_extra("signing and checking signatures", "cryptography", "sign") from error


#: What is wanted of a file, and how one is come by.
_WANTED: Final = {
    "private": "signing takes a private Ed25519 key, PEM without a passphrase: `opmux certificate key FILE` makes one",
    "public": "checking a signature takes the signer's public Ed25519 key, PEM: `opmux certificate key FILE` writes it "
    "to FILE.pub",
}


def _private(path: Path) -> Ed25519PrivateKey:
    keys = _keys()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _content(path)
    try:
        found = load_pem_private_key(content, password=None)
    except Exception as error:  # whatever the library makes of a file that is no such key
        raise _wrong_key(path, _held(content), "private") from error
    if not isinstance(found, keys.Ed25519PrivateKey):
        raise _wrong_key(path, f"a private key of another algorithm, {_algorithm(found)}", "private")
    return found


def _public(path: Path) -> bytes:
    keys = _keys()
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _content(path)
    try:
        found = load_pem_public_key(content)
    except Exception as error:  # whatever the library makes of a file that is no such key
        raise _wrong_key(path, _held(content), "public") from error
    if not isinstance(found, keys.Ed25519PublicKey):
        raise _wrong_key(path, f"a public key of another algorithm, {_algorithm(found)}", "public")
    return found.public_bytes_raw()


def _wrong_key(path: Path, held: str, wanted: str) -> CertificateError:
    return CertificateError(f"{path} holds {held}; {_WANTED[wanted]}", path=str(path))


def _algorithm(key: object) -> str:
    """Return what a key is of, from the name of its class: the library has one per algorithm."""
    return type(key).__name__.strip("_").removesuffix("PrivateKey").removesuffix("PublicKey")


def _held(content: bytes) -> str:
    """Return what a file holds that is not the key wanted, as far as its first lines say."""
    if not content.strip():
        return "nothing: it is empty"
    label = _LABEL.search(content)
    if label is None:
        return "no PEM, which begins with a line such as -----BEGIN PRIVATE KEY-----"
    name = label[1].decode("ascii")
    if "ENCRYPTED" in name or b"Proc-Type: 4,ENCRYPTED" in content:
        return "a private key with a passphrase"
    told = {"PUBLIC": "a public key", "PRIVATE": "a private key", "CERTIFICATE": "an X.509 certificate"}
    what = next((words for word, words in told.items() if word in name), f"a {name}")
    return f"{what}, or what is left of one ({name})"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {error.strerror}", path=str(path)) from error
