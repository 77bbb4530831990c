"""A sealed document shows every change."""

from __future__ import annotations

from typing import Any

import pytest

from opmux.core.sealed import digest_of, is_intact, sealed

DOCUMENT: dict[str, Any] = {"a": [1, 2.5, None], "b": {"c": "é", "d": True}}


def test_a_sealed_document_is_intact_whatever_the_order_of_its_keys() -> None:
    made = sealed(DOCUMENT)
    assert is_intact(made)
    assert is_intact(dict(reversed(made.items())))
    assert is_intact({**made, "signature": "of somebody"})


@pytest.mark.parametrize(
    "changed", [{"a": [2.5, 1, None]}, {"a": [1, 2.5]}, {"b": {"c": "e", "d": True}}, {"e": 1}, {"digest": "sha256:0"}]
)
def test_every_change_shows(changed: dict[str, Any]) -> None:
    assert not is_intact({**sealed(DOCUMENT), **changed})


def test_what_was_never_sealed_is_not_intact() -> None:
    assert not is_intact(DOCUMENT)
    assert not is_intact({**DOCUMENT, "x": float("nan"), "digest": "sha256:0"})


def test_sealing_again_drops_a_signature_of_something_else() -> None:
    assert "signature" not in sealed({**sealed(DOCUMENT), "e": 1, "signature": "of what it was"})


def test_nan_cannot_be_sealed() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        digest_of({"x": float("nan")})
