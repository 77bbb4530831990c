"""What is wrong with a certificate, as typed errors."""

from __future__ import annotations

from ...core.errors import ArgumentError


class CertificateError(ArgumentError):
    """A file that is no certificate, a broken one, or certificates that do not fit together."""


def missing_extra(what: str, package: str, extra: str) -> ArgumentError:
    """Return the error that says which extra brings a package."""
    return ArgumentError(f"{what} needs {package}: pip install 'opmux[{extra}]'", missing=package, extra=extra)
