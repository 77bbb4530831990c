"""Small files that later processes trust: a directory of one's own, digests, atomic writes.

Nothing read from here is believed without proof: the directory must be a real directory of mode 0700 that
belongs to this user, and a file must belong to this user and carry the digest of its content under its own
key. Anything odd is a miss, never an exception.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MAGIC: Final = b"opmux-file-1\n"
_HEADER: Final = len(_MAGIC) + hashlib.sha256().digest_size


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


@dataclass(frozen=True, slots=True)
class FileCache:
    """A directory of small files by key; safe for threads and for processes that write at once.

    Attributes:
        directory: where they lie; made on the first write.
        limit_bytes: the largest file; a larger one is neither written nor read.
    """

    directory: Path
    limit_bytes: int = 1 << 20

    def get(self, key: str) -> bytes | None:
        """Return what was stored under a key (a hexadecimal digest), or None where it is absent or odd."""
        with suppress(OSError):
            directory = self._open()
            if directory is None:
                return None
            try:
                return self._read(directory, key)
            finally:
                os.close(directory)
        return None

    def put(self, key: str, data: bytes) -> bool:
        """Store data under a key; False where the directory cannot be trusted or written."""
        if len(data) > self.limit_bytes:
            return False
        with suppress(OSError):
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                self.directory.mkdir(mode=0o700)
            directory = self._open()
            if directory is None:
                return False
            try:
                _write(directory, key, data)
            finally:
                os.close(directory)
            return True
        return False

    def _open(self) -> int | None:
        """Return a descriptor of the directory; all access goes through it, so a swapped path changes nothing."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
            os.close(descriptor)
            return None
        return descriptor

    def _read(self, directory: int, key: str) -> bytes | None:
        # O_NONBLOCK: a FIFO in the file's place must not hang the reader.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(key, flags, dir_fd=directory)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
                return None
            if status.st_size > self.limit_bytes + _HEADER:
                return None
            content = file.read()
        data = content[_HEADER:]
        return data if content[:_HEADER] == _header(key, data) else None


def _header(key: str, data: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(key.encode() + b"\0" + data).digest()


def _write(directory: int, key: str, data: bytes) -> None:
    temporary = f".writing-{os.getpid()}-{secrets.token_hex(8)}"
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
