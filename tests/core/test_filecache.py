"""Files that later processes trust: anything odd about them is a miss."""

from __future__ import annotations

import os
import threading

import pytest

from opmux.core.filecache import FileCache, cache_key, cache_root

KEY, OTHER = cache_key("a"), cache_key("b")


@pytest.fixture
def cache(tmp_path):
    made = FileCache(tmp_path / "new" / "cache")
    assert made.put(KEY, b"content")
    return made


def test_round_trip(cache):
    assert cache.get(KEY) == b"content"
    assert cache.put(KEY, b"newer")
    assert cache.get(KEY) == b"newer"
    assert cache.get(OTHER) is None


def test_modes(cache):
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    assert (cache.directory / KEY).stat().st_mode & 0o777 == 0o600


def test_changed_content_is_a_miss(cache):
    file = cache.directory / KEY
    file.write_bytes(file.read_bytes().replace(b"content", b"c0ntent"))
    assert cache.get(KEY) is None


def test_torn_file_is_a_miss(cache):
    file = cache.directory / KEY
    file.write_bytes(file.read_bytes()[:-1])
    assert cache.get(KEY) is None


def test_file_under_another_key_is_a_miss(cache):
    (cache.directory / KEY).rename(cache.directory / OTHER)
    assert cache.get(OTHER) is None


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o500])
def test_directory_of_another_mode_is_not_trusted(cache, mode):
    cache.directory.chmod(mode)
    assert cache.get(KEY) is None
    assert not cache.put(OTHER, b"x")


def test_file_that_others_may_write_is_not_trusted(cache):
    (cache.directory / KEY).chmod(0o602)
    assert cache.get(KEY) is None


@pytest.mark.parametrize("what", ["directory", "file"])
def test_owner_must_be_this_user(cache, monkeypatch, what):
    target = cache.directory if what == "directory" else cache.directory / KEY
    real = os.fstat

    def foreign(descriptor):
        status = real(descriptor)
        if status.st_ino != target.stat().st_ino:
            return status
        return os.stat_result((*status[:4], status.st_uid + 1, *status[5:]))

    monkeypatch.setattr(os, "fstat", foreign)
    assert cache.get(KEY) is None


def test_link_in_the_place_of_directory_or_file_is_not_followed(cache, tmp_path):
    (tmp_path / "link").symlink_to(cache.directory)
    assert FileCache(tmp_path / "link").get(KEY) is None
    (cache.directory / OTHER).symlink_to(cache.directory / KEY)
    assert cache.get(OTHER) is None


def test_pipe_in_the_place_of_a_file_does_not_hang(cache):
    os.mkfifo(cache.directory / OTHER, 0o600)
    assert cache.get(OTHER) is None


def test_oversized_content_is_neither_written_nor_read(cache):
    small = FileCache(cache.directory, limit_bytes=3)
    assert not small.put(OTHER, b"1234")
    assert small.get(KEY) is None


def test_file_in_the_directorys_place(tmp_path):
    (tmp_path / "cache").write_text("")
    cache = FileCache(tmp_path / "cache")
    assert not cache.put(KEY, b"x")
    assert cache.get(KEY) is None


def test_failed_write_leaves_nothing(cache, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(os, "rename", fail)
    assert not cache.put(OTHER, b"x")
    assert [file.name for file in cache.directory.iterdir()] == [KEY]


def test_readers_see_whole_files_while_others_write(cache):
    contents = [bytes([i]) * 4096 for i in range(4)]
    threads = [threading.Thread(target=lambda c=c: [cache.put(KEY, c) for _ in range(25)]) for c in contents]
    for thread in threads:
        thread.start()
    seen = {cache.get(KEY) for _ in range(50)}
    for thread in threads:
        thread.join()
    assert seen <= {b"content", *contents}
    assert cache.get(KEY) in contents


def test_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("OPMUX_CACHE_DIR", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("OPMUX_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "opmux"
    monkeypatch.setenv("OPMUX_CACHE", "0")
    assert cache_root() is None
