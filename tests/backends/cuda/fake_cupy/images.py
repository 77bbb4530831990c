"""What the parameters of a kernel are, read from its cubin: records ``EIATTR_KPARAM_INFO``."""

from __future__ import annotations

import functools
import struct

from opmux.backends.cuda.compiling.cubin import _content, _sections

_PARAMETER = 0x17
_SIZED = 4


@functools.lru_cache(maxsize=64)
def parameters(cubin: bytes, entry: str) -> tuple[int, ...]:
    """Return the sizes of the parameters in order."""
    data = _content(cubin, _sections(cubin)[f".nv.info.{entry}"])
    found: dict[int, int] = {}
    at = 0
    while at + 4 <= len(data):
        form, attribute, size = struct.unpack_from("<2BH", data, at)
        at += 4
        if form == _SIZED:
            if attribute == _PARAMETER:
                _, ordinal, _, packed = struct.unpack_from("<I2HI", data, at)
                found[ordinal] = packed >> 18
            at += size
    return tuple(found[i] for i in sorted(found))
