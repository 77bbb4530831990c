"""Small files that later processes trust: a directory of one's own, digests, atomic writes, a bound on the size.

Nothing read from here is believed without proof, for some of it is executed: the directory must be a real
directory of mode 0700 that belongs to this user, and a file must belong to this user and carry the digest of its
content under its own key. Anything odd is a miss that the statistics count, never an exception.
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

# Part of every file: a change of the layout below makes the old files corrupt, hence misses.
_MAGIC: Final = b"opmux-file-1\n"
_HEADER: Final = len(_MAGIC) + hashlib.sha256().digest_size
_TEMPORARY_PREFIX: Final = ".writing-"
# A writer that died leaves its temporary file behind; an hour is far beyond the time one write takes.
_STALE_SECONDS: Final = 3600.0
# To look at every file takes 0.1 s where there are 15,000: after each write it took longer than to compile what was
# written. So a directory is looked at again after this share of the limit, and so much below it is evicted at once.
_SLACK_SHARE: Final = 64


def cache_root() -> Path | None:
    """Return ``OPMUX_CACHE_DIR``, else the user's cache directory; None under ``OPMUX_CACHE=0``."""
    if os.environ.get("OPMUX_CACHE") == "0":
        return None
    given = os.environ.get("OPMUX_CACHE_DIR")
    if given:
        return Path(given)
    import platformdirs

    path = platformdirs.user_cache_path("opmux")
    return path if path.is_absolute() else None  # without a home directory "~" stays as it is


def cache_key(*parts: str) -> str:
    """Return one digest of all parts, each with its length, so that no two lists of parts share a key.

    >>> cache_key("ab", "c") == cache_key("a", "bc")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode(errors="surrogateescape")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


@dataclass(slots=True)
class CacheStatistics:
    """Counts since a cache was opened: every ``get`` is a hit or a miss, the rest says why.

    Attributes:
        hits, misses: answers of ``get``.
        writes: files written.
        corrupt: files with a wrong digest, key, size or kind.
        untrusted: directories or files with a foreign owner, a wrong mode, or a link in their place.
        errors: what the operating system refused.
        evictions: files deleted to keep the bound.
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
class FileCache:
    """A directory of files by key, bounded in size, oldest use evicted first.

    Safe for threads and for processes that write at the same time: a file appears whole or not at all.

    Attributes:
        directory: where they lie; made on the first write.
        limit_bytes: how large they may be together, and until they are next looked at a 64th more for each other
            process that writes; a file larger than that is neither written nor read.
    """

    directory: Path
    limit_bytes: int = 1 << 20
    # Bytes that may be written before the directory is looked at again.
    _room: int = field(default=0, init=False, repr=False)
    _statistics: CacheStatistics = field(default_factory=CacheStatistics, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def statistics(self) -> CacheStatistics:
        """A copy of the counts."""
        with self._lock:
            return replace(self._statistics)

    def get(self, key: str) -> bytes | None:
        """Return what was stored under a key (a hexadecimal digest), or None where it is absent or odd."""
        try:
            directory = self._open(create=False)
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
        """Store data under a key; False where the directory cannot be trusted or written."""
        if len(data) > self.limit_bytes:
            return False
        try:
            directory = self._open(create=True)
            try:
                _write(directory, key, data)
                evicted = self._keep_bound(directory, len(data))
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

    def _keep_bound(self, directory: int, written: int) -> int:
        """Evict where what was written may have passed the bound; return how many files went."""
        with self._lock:
            self._room -= written
            if self._room >= 0:
                return 0
        evicted, held = _evict(directory, self.limit_bytes)
        with self._lock:
            self._room = max(min(self.limit_bytes - held, self.limit_bytes // _SLACK_SHARE), 0)
        return evicted

    def _count(self, *names: str, times: int = 1) -> None:
        with self._lock:
            for name in names:
                setattr(self._statistics, name, getattr(self._statistics, name) + times)

    def _open(self, *, create: bool) -> int:
        """Return a descriptor of the directory; all access goes through it, so a swapped path changes nothing."""
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
        # O_NONBLOCK: a FIFO in the file's place must not hang the reader.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(key, flags, dir_fd=directory)
        except FileNotFoundError:
            raise
        except OSError as error:
            if _is_link(key, directory):
                raise _UntrustedError from error
            raise
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _CorruptError
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                raise _UntrustedError
            if status.st_size > self.limit_bytes + _HEADER:
                raise _CorruptError
            content = file.read()
            data = content[_HEADER:]
            if content[:_HEADER] != _header(key, data):
                raise _CorruptError
            # The modification time is the time of last use: access times are often not kept.
            with suppress(OSError):
                os.utime(descriptor)
        return data


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
        os.rename(temporary, key, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise


def _evict(directory: int, limit_bytes: int) -> tuple[int, int]:
    """Delete the files used longest ago until the rest fits; return how many went, and how many bytes are left."""
    now = time.time()
    files: list[tuple[float, int, str]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            # Another process may delete what the scan has just seen.
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if not entry.name.startswith(_TEMPORARY_PREFIX):
                    files.append((status.st_mtime, max(status.st_size - _HEADER, 0), entry.name))
                elif now - status.st_mtime > _STALE_SECONDS:
                    os.unlink(entry.name, dir_fd=directory)
    total = sum(size for _, size, _ in files)
    evicted = 0
    if total <= limit_bytes:
        return evicted, total
    for _, size, name in sorted(files)[:-1]:  # what was used last fits by itself
        if total <= limit_bytes - limit_bytes // _SLACK_SHARE:
            break
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
            evicted += 1
        total -= size
    return evicted, total


def _is_link(name: str, directory: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return False
