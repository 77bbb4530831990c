"""The object cache: what is odd is a miss that is counted, and never an exception."""

import multiprocessing
import os
import types

import pytest

from opmux.backends.llvm import cache as module
from opmux.backends.llvm.cache import ObjectCache, cache_key, default_cache

KEY = cache_key("some code")


@pytest.fixture
def store(tmp_path):
    return ObjectCache(tmp_path / "objects")


def _file(store):
    return store.directory / f"{KEY}.object"


def test_what_was_put_is_got_by_another_instance(store):
    assert store.put(KEY, b"machine code")
    assert ObjectCache(store.directory).get(KEY) == b"machine code"
    assert store.directory.stat().st_mode & 0o777 == 0o700
    assert _file(store).stat().st_mode & 0o777 == 0o600


def test_an_absent_directory_is_a_miss_and_is_not_made_by_reading(store):
    assert store.get(KEY) is None
    assert (store.statistics.misses, store.statistics.errors) == (1, 0)
    assert not store.directory.exists()


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
def test_a_damaged_file_is_a_counted_miss_and_can_be_written_again(store, damage):
    store.put(KEY, b"machine code")
    _file(store).write_bytes(damage(_file(store).read_bytes()))
    assert store.get(KEY) is None
    assert store.statistics.corrupt == 1
    assert store.put(KEY, b"machine code")
    assert store.get(KEY) == b"machine code"


def test_an_object_under_another_key_is_corrupt(store):
    store.put(KEY, b"machine code")
    other = cache_key("other code")
    os.rename(_file(store), store.directory / f"{other}.object")
    assert store.get(other) is None
    assert store.statistics.corrupt == 1


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777, 0o500])
def test_a_directory_with_another_mode_is_not_trusted(store, mode):
    store.put(KEY, b"machine code")
    store.directory.chmod(mode)
    assert store.get(KEY) is None
    assert not store.put(KEY, b"machine code")
    assert store.statistics.untrusted == 2


def test_a_foreign_directory_is_not_trusted(store, monkeypatch):
    store.put(KEY, b"machine code")
    monkeypatch.setattr(module.os, "geteuid", lambda: os.getuid() + 1)
    assert store.get(KEY) is None
    assert not store.put(KEY, b"machine code")
    assert store.statistics.untrusted == 2


def test_a_foreign_file_is_not_trusted(store, monkeypatch):
    store.put(KEY, b"machine code")
    real, inode = os.fstat, _file(store).stat().st_ino

    def fstat(descriptor):
        status = real(descriptor)
        names = ("st_mode", "st_ino", "st_uid", "st_size")
        fields = {name: getattr(status, name) for name in names}
        return types.SimpleNamespace(**fields | ({"st_uid": status.st_uid + 1} if status.st_ino == inode else {}))

    monkeypatch.setattr(module.os, "fstat", fstat)
    assert store.get(KEY) is None
    assert (store.statistics.untrusted, store.statistics.corrupt) == (1, 0)


def test_a_file_that_others_may_write_is_not_trusted(store):
    store.put(KEY, b"machine code")
    _file(store).chmod(0o666)
    assert store.get(KEY) is None
    assert store.statistics.untrusted == 1


def test_links_are_not_followed(store, tmp_path):
    store.put(KEY, b"machine code")
    elsewhere = tmp_path / "elsewhere"
    os.rename(_file(store), elsewhere)
    os.symlink(elsewhere, _file(store))
    assert store.get(KEY) is None
    linked = ObjectCache(tmp_path / "link")
    os.symlink(store.directory, linked.directory)
    assert linked.get(KEY) is None
    assert not linked.put(KEY, b"machine code")
    assert (store.statistics.untrusted, linked.statistics.untrusted) == (1, 2)


def test_a_fifo_in_a_files_place_does_not_hang(store):
    store.put(KEY, b"machine code")
    _file(store).unlink()
    os.mkfifo(_file(store), 0o600)
    assert store.get(KEY) is None
    assert store.statistics.corrupt == 1


def test_a_file_in_the_directorys_place_is_a_miss(store):
    store.directory.write_text("not a directory")
    assert store.get(KEY) is None
    assert not store.put(KEY, b"machine code")
    assert store.statistics.errors == 2


def test_a_full_disk_leaves_nothing_behind(store, monkeypatch):
    store.put(cache_key("first"), b"fits")

    def rename(*args, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "rename", rename)
    assert not store.put(KEY, b"machine code")
    assert store.statistics.errors == 1
    assert [path.suffix for path in store.directory.iterdir()] == [".object"]


def test_an_unwritable_parent_is_a_counted_refusal(tmp_path, monkeypatch):
    # Permissions do not stop root, so the refusal comes from the call itself.
    def mkdir(*args, **keywords):
        raise PermissionError(13, "Permission denied")

    store = ObjectCache(tmp_path / "objects")
    monkeypatch.setattr(module.Path, "mkdir", mkdir)
    assert not store.put(KEY, b"machine code")
    assert store.get(KEY) is None
    assert store.statistics.errors == 1


def test_the_object_used_longest_ago_is_evicted_first(tmp_path):
    store = ObjectCache(tmp_path / "objects", limit_bytes=3500)
    keys = [cache_key(str(number)) for number in range(3)]
    for age, key in enumerate(keys):
        store.put(key, bytes(1000))
        os.utime(store.directory / f"{key}.object", (1000 + age, 1000 + age))
    assert store.get(keys[0]) is not None
    store.put(KEY, bytes(1000))
    assert [store.get(key) is not None for key in (*keys, KEY)] == [True, False, True, True]
    assert store.statistics.evictions == 1


def test_an_object_beyond_the_limit_is_not_stored(tmp_path):
    store = ObjectCache(tmp_path / "objects", limit_bytes=100)
    assert not store.put(KEY, bytes(101))
    assert store.get(KEY) is None


def test_leftovers_of_dead_writers_go_and_those_of_live_ones_stay(store):
    store.put(KEY, b"machine code")
    dead, live = store.directory / ".writing-1-dead", store.directory / ".writing-2-live"
    dead.write_bytes(b"")
    live.write_bytes(b"")
    os.utime(dead, (0, 0))
    store.put(KEY, b"machine code")
    assert (dead.exists(), live.exists()) == (False, True)


def _write_and_read(directory, seed, wrong):
    store = ObjectCache(directory, limit_bytes=40_000)
    keys = [cache_key(str(number)) for number in range(8)]
    for turn in range(150):
        key = keys[(turn * 7 + seed) % len(keys)]
        expected = key.encode() * 100
        store.put(key, expected)
        if store.get(key) not in (expected, None):
            wrong.set()
    if store.statistics.corrupt or store.statistics.errors:
        wrong.set()


def test_two_processes_may_write_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    wrong = context.Event()
    arguments = [(tmp_path / "objects", seed, wrong) for seed in range(2)]
    writers = [context.Process(target=_write_and_read, args=entry) for entry in arguments]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert not wrong.is_set()


def test_the_environment_chooses_the_directory_and_turns_the_cache_off(tmp_path, monkeypatch):
    monkeypatch.setenv("OPMUX_CACHE_DIR", str(tmp_path))
    assert default_cache().directory == tmp_path / "objects"
    assert default_cache() is default_cache()
    monkeypatch.setenv("OPMUX_CACHE", "0")
    assert default_cache() is None
