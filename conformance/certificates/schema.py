"""The JSON Schema of certificates, in the wheel beside this file, for programs of any language."""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any

from .errors import missing_extra


@functools.cache
def schema() -> dict[str, Any]:
    """Return the schema, of draft 2020-12."""
    text = files(__package__).joinpath("certificate.schema.json").read_text(encoding="utf-8")
    made: dict[str, Any] = json.loads(text)
    return made


def schema_faults(document: object) -> list[str]:
    """Return where a document does not follow the schema, and how; nothing where it does.

    Raises:
        ArgumentError: jsonschema is not installed.
    """
    try:
        import jsonschema
    except ImportError as error:
        raise missing_extra("checking the schema of a certificate", "jsonschema", "conformance") from error
    validator = jsonschema.Draft202012Validator(schema())
    found = sorted(validator.iter_errors(document), key=lambda e: list(map(str, e.absolute_path)))
    return [f"{e.json_path}: {e.message[:200]}" for e in found]
