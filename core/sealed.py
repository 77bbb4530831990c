"""Documents that carry a digest of themselves: a change, of one character or of the order of numbers, shows.

A seal proves integrity, not origin: whoever writes a document can seal it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

#: The key of the digest; what lies beside it under ``"signature"`` is about the digest and not part of it.
DIGEST: Final = "digest"
SIGNATURE: Final = "signature"


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the digest of a document without its own digest and signature.

    It is the SHA-256 of the text that :func:`json.dumps` makes with sorted keys, no spaces and plain Unicode. A tool
    that writes 1.0 as 1 makes another document of it.

    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1, "digest": "any"})
    True
    """
    about = {key: value for key, value in document.items() if key not in (DIGEST, SIGNATURE)}
    text = json.dumps(about, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with its digest; a signature of another digest is dropped.

    Raises:
        ValueError: it holds NaN or an infinity, which JSON cannot.
    """
    return {**{k: v for k, v in document.items() if k not in (DIGEST, SIGNATURE)}, DIGEST: digest_of(document)}


def is_intact(document: Mapping[str, Any]) -> bool:
    """Return whether a document is what was sealed."""
    try:
        return bool(document.get(DIGEST) == digest_of(document))
    except (ValueError, TypeError):
        return False
