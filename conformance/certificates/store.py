"""Certificate files: read strictly, written whole, one line per row, so that a diff of two files can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .errors import CertificateError
from .model import Certificate

#: A certificate of a whole suite is some megabytes; what is much larger is no certificate.
_LARGEST: Final = 256 << 20


def read_document(path: Path) -> Any:
    """Return the JSON of a file.

    Raises:
        CertificateError: it cannot be read, is no JSON, names a key twice, or holds numbers that JSON does not have.
    """
    try:
        size, raw = path.stat().st_size, b""
        if size <= _LARGEST:
            raw = path.read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {error.strerror}", path=str(path)) from error
    if size > _LARGEST:
        raise CertificateError(f"{path} is larger than any certificate", path=str(path))
    try:
        return json.loads(raw.decode(), object_pairs_hook=_without_doubles, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise CertificateError(f"{path} is no JSON of a certificate: {error}", path=str(path)) from error


def read(path: Path) -> Certificate:
    """Return the certificate in a file.

    Raises:
        CertificateError: it cannot be read, is of another kind or format, or was edited since it was sealed.
    """
    return Certificate.from_dict(read_document(path), str(path))


def write(certificate: Certificate, path: Path) -> None:
    """Write a certificate; the file appears whole or not at all.

    Raises:
        CertificateError: it cannot be written.
    """
    write_text(path, text_of(certificate.to_dict()))


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        CertificateError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise CertificateError(f"cannot write {path}: {error.strerror}", path=str(path)) from error


def text_of(document: Mapping[str, Any]) -> str:
    """Return JSON with one line per row of a list or entry of an object.

    >>> print(text_of({"a": 1, "rows": [{"b": 2}, {"b": 3}]}), end="")
    {
      "a": 1,
      "rows": [
        {"b":2},
        {"b":3}
      ]
    }
    """
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {_block(value)}" for key, value in document.items()) + "\n}\n"


def _block(value: Any) -> str:
    if isinstance(value, Mapping) and value:
        lines = [f"    {json.dumps(key)}: {_line(x)}" for key, x in value.items()]
        return "{\n" + ",\n".join(lines) + "\n  }"
    if isinstance(value, list) and any(isinstance(x, Mapping) for x in value):
        return "[\n" + ",\n".join(f"    {_line(x)}" for x in value) + "\n  ]"
    return json.dumps(value)


def _line(value: Any) -> str:
    # Spaces within a row would be a tenth of the file.
    return json.dumps(value, separators=(",", ":"))


def paths_for(certificates: Sequence[Certificate], path: Path) -> list[Path]:
    """Return where each certificate of a run goes: the file itself, or one per backend and device beside it.

    Two of one run never share a name: the device's name is part of it.
    """
    if len(certificates) == 1:
        return [path]
    tags = [re.sub(r"[^\w.]+", "-", f"{c.backend.name}-{c.device.name}") for c in certificates]
    return [path.with_name(f"{path.stem}-{tag}{path.suffix}") for tag in tags]


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is given twice: two readers would see two certificates."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"the key {key!r} is given twice")
        made[key] = value
    return made


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")
