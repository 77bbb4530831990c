"""Which versions of the interface and of the opset fit together."""

from __future__ import annotations

import pytest

from opmux.core.plugins.versions import in_range, parse_range, parse_version, spi_fits


@pytest.mark.parametrize(
    ("wanted", "offered", "fits"),
    [
        ("0.1", "0.1", True),
        ("0.1", "0.2", False),
        ("0.2", "0.1", False),
        ("1.0", "1.3", True),
        ("1", "1.0", True),
        ("1.4", "1.3", False),
        ("1.0", "2.0", False),
        ("0.1", "1.1", False),
    ],
)
def test_interface(wanted, offered, fits):
    assert spi_fits(wanted, offered) is fits


@pytest.mark.parametrize(
    ("version", "wanted", "inside"),
    [
        ("0.1", ">=0.1,<1", True),
        ("0.10", ">=0.9", True),
        ("1.0", "<1", False),
        ("1.0", "==1", True),
        ("1.1", "!=1.1", False),
        ("1.1", "> 1.0 , <= 1.1", True),
    ],
)
def test_range(version, wanted, inside):
    assert in_range(version, wanted) is inside


@pytest.mark.parametrize("text", ["", "1.", "a", "1.0rc1", "-1", "1.٣"])
def test_version_that_is_none(text):
    with pytest.raises(ValueError, match="is not a dotted version"):
        parse_version(text)


@pytest.mark.parametrize("text", ["", "1", "~=1.0", ">=1,", ">=x"])
def test_range_that_is_none(text):
    with pytest.raises(ValueError, match="is not a clause"):
        parse_range(text)
