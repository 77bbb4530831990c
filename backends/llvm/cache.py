"""Compiled objects on disk.

What is read from here is executed, so nothing is trusted: the directory must be a real directory of mode
0700 that belongs to this user, a file must belong to this user and carry the digest of its own content
under its own key. Anything odd is a miss that the statistics count, never an exception.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import platformdirs

# Part of every file: a change of the layout below makes the old files corrupt, hence misses.
_MAGIC: Final = b"opmux-object-1\n"
_DIGEST_BYTES: Final = hashlib.sha256().digest_size
_SUFFIX: Final = ".object"
_TEMPORARY_PREFIX: Final = ".writing-"
# A writer that died leaves its temporary file behind; an hour is far beyond the time one write takes.
_STALE_SECONDS: Final = 3600.0
DEFAULT_LIMIT_BYTES: Final = 256 << 20


@dataclass(slots=True)
class CacheStatistics:
    """Counts since the process started: every `get` is a hit or a miss, the rest says why.

    `corrupt`: files with a wrong digest, key, size or kind; `untrusted`: directories or files with a
    foreign owner, a wrong mode, or a link in their place; `errors`: what the operating system refused.
    """

    hits: int = 0
    misses: int = 0
    writes: int = 0
    corrupt: int = 0
    untrusted: int = 0
    errors: int = 0
    evictions: int = 0


class _UntrustedError(Exception):
    """The directory or the file is not ours alone."""


class _CorruptError(Exception):
    """The file is not what was written under its key."""


@dataclass(slots=True)
class ObjectCache:
    """A directory of compiled objects, bounded in size, oldest use evicted first.

    Safe for threads and for processes that write at the same time: a file appears whole or not at all.
    """

    directory: Path
    limit_bytes: int = DEFAULT_LIMIT_BYTES
    _statistics: CacheStatistics = field(default_factory=CacheStatistics)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def statistics(self) -> CacheStatistics:
        """A copy of the counts."""
        with self._lock:
            return replace(self._statistics)

    def get(self, key: str) -> bytes | None:
        """The object stored under `key` (a hexadecimal digest), or None."""
        try:
            directory = self._open_directory(create=False)
            try:
                data = self._read(directory, key)
            finally:
                os.close(directory)
        except FileNotFoundError:
            self._count("misses")
        except _UntrustedError:
            self._count("misses", "untrusted")
        except _CorruptError:
            self._count("misses", "corrupt")
        except OSError:
            self._count("misses", "errors")
        else:
            self._count("hits")
            return data
        return None

    def put(self, key: str, data: bytes) -> bool:
        """Store `data` under `key`; False where the directory cannot be trusted or written."""
        if len(data) > self.limit_bytes:
            return False
        try:
            directory = self._open_directory(create=True)
            try:
                _write(directory, key, data)
                evicted = _evict(directory, self.limit_bytes)
            finally:
                os.close(directory)
        except _UntrustedError:
            self._count("untrusted")
            return False
        except OSError:
            self._count("errors")
            return False
        self._count("writes")
        self._count("evictions", times=evicted)
        return True

    def _count(self, *names: str, times: int = 1) -> None:
        with self._lock:
            for name in names:
                setattr(self._statistics, name, getattr(self._statistics, name) + times)

    def _open_directory(self, *, create: bool) -> int:
        """A descriptor of the directory; all later access goes through it, so a swapped path changes nothing."""
        if create:
            with suppress(FileExistsError):
                self.directory.parent.mkdir(parents=True, exist_ok=True)
                self.directory.mkdir(mode=0o700)
        if self.directory.is_symlink():
            raise _UntrustedError
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
            os.close(descriptor)
            raise _UntrustedError
        return descriptor

    def _read(self, directory: int, key: str) -> bytes:
        name = key + _SUFFIX
        # O_NONBLOCK: a FIFO in the file's place must not hang the reader.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=directory)
        except FileNotFoundError:
            raise
        except OSError as error:
            if _is_link(name, directory):
                raise _UntrustedError from error
            raise
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _CorruptError
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                raise _UntrustedError
            if status.st_size > self.limit_bytes + len(_MAGIC) + _DIGEST_BYTES:
                raise _CorruptError
            content = file.read()
            data = content[len(_MAGIC) + _DIGEST_BYTES :]
            if content[: len(_MAGIC) + _DIGEST_BYTES] != _header(key, data):
                raise _CorruptError
            # The modification time is the time of last use: access times are often not kept.
            with suppress(OSError):
                os.utime(descriptor)
        return data


def cache_key(*parts: str) -> str:
    """One digest of all parts, each with its length, so that no two lists of parts share a key.

    >>> cache_key("ab", "c") == cache_key("a", "bc")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


def default_directory() -> Path:
    """`objects` under `OPMUX_CACHE_DIR`, else under the user's cache directory."""
    root = os.environ.get("OPMUX_CACHE_DIR")
    return (Path(root) if root else platformdirs.user_cache_path("opmux")) / "objects"


_open_caches: Final[dict[Path, ObjectCache]] = {}
_open_caches_lock: Final = threading.Lock()


def default_cache() -> ObjectCache | None:
    """The cache that the environment asks for now; None under `OPMUX_CACHE=0`."""
    if os.environ.get("OPMUX_CACHE") == "0":
        return None
    directory = default_directory()
    with _open_caches_lock:
        return _open_caches.setdefault(directory, ObjectCache(directory))


def _header(key: str, data: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(key.encode() + b"\0" + data).digest()


def _write(directory: int, key: str, data: bytes) -> None:
    temporary = f"{_TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode=0o600, dir_fd=directory)
    try:
        with open(descriptor, "wb") as file:
            file.write(_header(key, data))
            file.write(data)
        os.rename(temporary, key + _SUFFIX, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise


def _evict(directory: int, limit_bytes: int) -> int:
    """Delete the objects used longest ago until the rest fits; returns how many went."""
    now = time.time()
    objects: list[tuple[float, int, str]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            # Another process may delete what the scan has just seen.
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if entry.name.endswith(_SUFFIX):
                    objects.append((status.st_mtime, status.st_size, entry.name))
                elif entry.name.startswith(_TEMPORARY_PREFIX) and now - status.st_mtime > _STALE_SECONDS:
                    os.unlink(entry.name, dir_fd=directory)
    total = sum(size for _, size, _ in objects)
    evicted = 0
    for _, size, name in sorted(objects):
        if total <= limit_bytes:
            break
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
            evicted += 1
        total -= size
    return evicted


def _is_link(name: str, directory: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return False
