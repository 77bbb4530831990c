"""The ``opmux`` command."""
