"""Where compiled objects are kept."""

from opmux.backends.llvm.cache import default_cache


def test_the_environment_chooses_the_directory_and_turns_the_cache_off(tmp_path, monkeypatch):
    monkeypatch.setenv("OPMUX_CACHE_DIR", str(tmp_path))
    assert default_cache().directory == tmp_path / "objects"
    assert default_cache() is default_cache()
    monkeypatch.setenv("OPMUX_CACHE", "0")
    assert default_cache() is None
