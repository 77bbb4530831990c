"""The JSON Schema of certificates, in the wheel beside this file, for programs of any language."""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any, Final

from ...core.errors import shown
from .errors import missing_extra

#: Characters of a wrong part that a message quotes; what is longer would be cut somewhere within a word.
_QUOTED: Final = 80


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
    return [f"{e.json_path}: {_words(e.message, e.instance)}" for e in found]


def _words(message: str, instance: object) -> str:
    """Return a message of the validator in which a long part of the document is named in place of being quoted."""
    quoted = repr(instance)
    if len(quoted) <= _QUOTED:
        return message
    for kind, words in (
        (list, "a list of {} entries"),
        (dict, "an object of {} keys"),
        (str, "a text of {} characters"),
    ):
        if isinstance(instance, kind):
            return message.replace(quoted, words.format(len(instance)))
    return message.replace(quoted, shown(instance, _QUOTED))
