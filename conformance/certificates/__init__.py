"""Certificates: the sealed record of a run, about one implementation on one device; read `docs/certificates.md`."""
