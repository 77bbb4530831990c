"""The host's rates: kept for later processes, measured anew where what is kept is odd."""

import pytest

from opmux.core.devices import host_rates as module
from opmux.core.devices.driver import Rates
from opmux.core.filecache import FileCache

MADE = Rates((("default", 2e9), ("float32", 4e9)), ((1 << 20, 1e10), (1 << 62, 5e9)), 1e-6, "measured")


@pytest.fixture
def measured(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setenv("OPMUX_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("OPMUX_CACHE", raising=False)
    monkeypatch.setattr(module, "measure", lambda: calls.append(1) or MADE)
    return calls


def test_measured_once_per_cpu(measured):
    assert module.host_rates("one") == module.host_rates("one") == MADE
    assert len(measured) == 1
    module.host_rates("other")
    assert len(measured) == 2


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"flops": [["default", -1]], "bandwidth": [[1, 1]], "launch": 1}'])
def test_odd_content_is_measured_anew(measured, tmp_path, content):
    module.host_rates("one")
    (file,) = (tmp_path / "rates").iterdir()
    FileCache(tmp_path / "rates").put(file.name, content)
    assert module.host_rates("one") == MADE
    assert len(measured) == 2


def test_without_a_cache_nothing_is_written(measured, tmp_path, monkeypatch):
    monkeypatch.setenv("OPMUX_CACHE", "0")
    assert module.host_rates("one") == MADE
    assert list(tmp_path.iterdir()) == []


def test_no_level_of_memory_is_slower_than_a_larger_one(monkeypatch):
    probed = dict(zip(module.WORKING_SETS, (1e9, 5e9, 4e9, 2e9, 3e9), strict=True))
    monkeypatch.setattr(module, "_bandwidth", probed.__getitem__)
    limits, rates = zip(*module.measure().bandwidth, strict=True)
    assert limits == (*module.WORKING_SETS[:-1], 1 << 62)
    assert rates == (5e9, 5e9, 4e9, 3e9, 3e9)
