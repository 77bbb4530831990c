"""Messages between the parent and a worker: a JSON object and, after it, bytes that belong to it."""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any, Final

from .errors import WorkerError

Message = dict[str, Any]
#: Lengths of the JSON text and of the bytes.
_LENGTHS: Final = struct.Struct("<QQ")
_CHUNK: Final = 1 << 20


class Channel:
    """One end of a pair of pipes.

    Args:
        reads: file descriptor to read from.
        writes: file descriptor to write to.
    """

    def __init__(self, reads: int, writes: int) -> None:
        self._reads = reads
        self._writes = writes

    def send(self, message: Message, payload: bytes | memoryview = b"") -> None:
        """Send a message.

        Raises:
            WorkerError: when the other end is gone.
        """
        text = json.dumps(message).encode()
        try:
            self._write(_LENGTHS.pack(len(text), len(payload)) + text)
            self._write(payload)
        except OSError as error:
            raise WorkerError(f"the other end of the pipe is gone: {error}") from None

    def receive(self, timeout: float | None = None) -> tuple[Message, bytearray]:
        """Wait for a message.

        Raises:
            WorkerError: when the other end is gone, or silent for so many seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        text_length, payload_length = _LENGTHS.unpack(self._read(_LENGTHS.size, deadline))
        message: Message = json.loads(self._read(text_length, deadline))
        return message, self._read(payload_length, deadline)

    def _write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._writes, rest[:_CHUNK]) :]

    def _read(self, count: int, deadline: float | None) -> bytearray:
        data = bytearray()
        while len(data) < count:
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self._reads], [], [], left)[0]:
                    raise WorkerError("no answer within the time limit")
            part = os.read(self._reads, min(count - len(data), _CHUNK))
            if not part:
                raise WorkerError("the other end of the pipe was closed")
            data += part
        return data
