"""Files that later processes trust: anything odd about them is a miss that is counted, never an exception."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from opmux.core.filecache import FileCache, cache_key, cache_root

KEY, OTHER = cache_key("a"), cache_key("b")


@pytest.fixture
def cache(tmp_path):
    made = FileCache(tmp_path / "new" / "cache")
    assert made.put(KEY, b"content")
    return made


def test_round_trip(cache):
    assert FileCache(cache.directory).get(KEY) == b"content"
    assert cache.put(KEY, b"newer")
    assert cache.get(KEY) == b"newer"
    assert cache.get(OTHER) is None
    seen = cache.statistics
    assert (seen.hits, seen.misses, seen.writes, seen.errors) == (1, 1, 2, 0)


def test_modes(cache):
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    assert (cache.directory / KEY).stat().st_mode & 0o777 == 0o600


def test_absent_directory_is_a_miss_and_is_not_made_by_reading(tmp_path):
    cache = FileCache(tmp_path / "cache")
    assert cache.get(KEY) is None
    assert (cache.statistics.misses, cache.statistics.errors) == (1, 0)
    assert not cache.directory.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:10],
        lambda content: b"",
        lambda content: content + b"x",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"X" + content[1:],
    ],
    ids=["one byte short", "cut in the header", "empty", "too long", "one bit flipped", "other format"],
)
def test_damaged_file_is_a_counted_miss_and_can_be_written_again(cache, damage):
    file = cache.directory / KEY
    file.write_bytes(damage(file.read_bytes()))
    assert cache.get(KEY) is None
    assert cache.statistics.corrupt == 1
    assert cache.put(KEY, b"content")
    assert cache.get(KEY) == b"content"


def test_file_under_another_key_is_corrupt(cache):
    (cache.directory / KEY).rename(cache.directory / OTHER)
    assert cache.get(OTHER) is None
    assert cache.statistics.corrupt == 1


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777, 0o500])
def test_directory_of_another_mode_is_not_trusted(cache, mode):
    cache.directory.chmod(mode)
    assert cache.get(KEY) is None
    assert not cache.put(OTHER, b"x")
    assert cache.statistics.untrusted == 2


@pytest.mark.parametrize("mode", [0o602, 0o640, 0o666])
def test_file_that_others_may_use_is_not_trusted(cache, mode):
    (cache.directory / KEY).chmod(mode)
    assert cache.get(KEY) is None
    assert cache.statistics.untrusted == 1


@pytest.mark.parametrize("what", ["directory", "file"])
def test_owner_must_be_this_user(cache, monkeypatch, what):
    target = cache.directory if what == "directory" else cache.directory / KEY
    real, inode = os.fstat, target.stat().st_ino

    def foreign(descriptor):
        status = real(descriptor)
        if status.st_ino != inode:
            return status
        return os.stat_result((*status[:4], status.st_uid + 1, *status[5:]))

    monkeypatch.setattr(os, "fstat", foreign)
    assert cache.get(KEY) is None
    assert (cache.statistics.untrusted, cache.statistics.corrupt) == (1, 0)


def test_link_in_the_place_of_directory_or_file_is_not_followed(cache, tmp_path):
    (tmp_path / "link").symlink_to(cache.directory)
    linked = FileCache(tmp_path / "link")
    assert linked.get(KEY) is None
    assert not linked.put(KEY, b"x")
    (cache.directory / OTHER).symlink_to(cache.directory / KEY)
    assert cache.get(OTHER) is None
    assert (cache.statistics.untrusted, linked.statistics.untrusted) == (1, 2)


def test_pipe_in_the_place_of_a_file_does_not_hang(cache):
    os.mkfifo(cache.directory / OTHER, 0o600)
    assert cache.get(OTHER) is None
    assert cache.statistics.corrupt == 1


def test_content_beyond_the_limit_is_neither_written_nor_read(cache):
    small = FileCache(cache.directory, limit_bytes=3)
    assert not small.put(OTHER, b"1234")
    assert small.get(KEY) is None


def test_file_in_the_directorys_place(tmp_path):
    (tmp_path / "cache").write_text("")
    cache = FileCache(tmp_path / "cache")
    assert not cache.put(KEY, b"x")
    assert cache.get(KEY) is None
    assert cache.statistics.errors == 2


def test_unwritable_parent_is_a_counted_refusal(tmp_path, monkeypatch):
    # Permissions do not stop root, so the refusal comes from the call itself.
    def mkdir(*args, **keywords):
        raise PermissionError(13, "Permission denied")

    cache = FileCache(tmp_path / "cache")
    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert not cache.put(KEY, b"x")
    assert cache.get(KEY) is None
    assert cache.statistics.errors == 1


def test_failed_write_leaves_nothing(cache, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    assert not cache.put(OTHER, b"x")
    assert cache.statistics.errors == 1
    assert [file.name for file in cache.directory.iterdir()] == [KEY]


def test_file_used_longest_ago_is_evicted_first(tmp_path):
    cache = FileCache(tmp_path / "cache", limit_bytes=3500)
    keys = [cache_key(str(number)) for number in range(3)]
    for age, key in enumerate(keys):
        cache.put(key, bytes(1000))
        os.utime(cache.directory / key, (1000 + age, 1000 + age))
    assert cache.get(keys[0]) is not None
    cache.put(KEY, bytes(1000))
    assert [cache.get(key) is not None for key in (*keys, KEY)] == [True, False, True, True]
    assert cache.statistics.evictions == 1


def test_file_as_large_as_the_limit_stays(tmp_path):
    cache = FileCache(tmp_path / "cache", limit_bytes=100)
    assert cache.put(KEY, bytes(100))
    assert cache.get(KEY) == bytes(100)


def test_full_directory_is_not_looked_at_after_every_write(tmp_path, monkeypatch):
    looks, scandir = [], os.scandir

    def counted(directory):
        looks.append(directory)
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", counted)
    cache = FileCache(tmp_path / "cache", limit_bytes=64_000)
    for number in range(2_000):
        assert cache.put(cache_key(str(number)), bytes(100))
    monkeypatch.undo()
    held = sum(len(cache.get(file.name)) for file in cache.directory.iterdir())
    assert held <= cache.limit_bytes
    assert len(looks) < 250


def test_what_others_write_is_seen_within_a_share_of_the_limit(tmp_path):
    first, second = (FileCache(tmp_path / "cache", limit_bytes=64_000) for _ in range(2))
    for number in range(1_000):
        (first if number % 2 else second).put(cache_key(str(number)), bytes(100))
        held = 100 * sum(1 for _ in first.directory.iterdir())
        assert held <= first.limit_bytes + first.limit_bytes // 64


def test_leftovers_of_dead_writers_go_and_those_of_live_ones_stay(cache):
    dead, live = cache.directory / ".writing-1-dead", cache.directory / ".writing-2-live"
    dead.write_bytes(b"")
    live.write_bytes(b"")
    os.utime(dead, (0, 0))
    FileCache(cache.directory).put(KEY, b"content")
    assert (dead.exists(), live.exists()) == (False, True)


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


def _write_and_read(directory, seed, wrong):
    cache = FileCache(directory, limit_bytes=40_000)
    keys = [cache_key(str(number)) for number in range(8)]
    for turn in range(150):
        key = keys[(turn * 7 + seed) % len(keys)]
        expected = key.encode() * 100
        cache.put(key, expected)
        if cache.get(key) not in (expected, None):
            wrong.set()
    if cache.statistics.corrupt or cache.statistics.errors:
        wrong.set()


def test_two_processes_may_write_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    wrong = context.Event()
    writers = [context.Process(target=_write_and_read, args=(tmp_path / "cache", seed, wrong)) for seed in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert not wrong.is_set()


def test_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("OPMUX_CACHE_DIR", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("OPMUX_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "opmux"
    monkeypatch.setenv("OPMUX_CACHE", "0")
    assert cache_root() is None
