"""What a kernel needs of a multiprocessor, read from its device code: registers, local memory, shared memory.

A cubin is an ELF file. The registers and the stack of each function are records in the section ``.nv.info`` (numbers
of the records: ``EIATTR_REGCOUNT``, ``EIATTR_MIN_STACK_SIZE`` in what NVIDIA's ``cuobjdump -elf`` prints), its static
shared memory is a section ``.nv.shared.NAME``. The figures are those that ``cuFuncGetAttribute`` reports of a loaded
function as ``NUM_REGS``, ``LOCAL_SIZE_BYTES`` and ``SHARED_SIZE_BYTES`` (CUDA driver API), and that the assembler
prints under ``-v``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_MAGIC: Final = b"\x7fELF\x02"
_REGISTERS: Final = 0x2F
_STACK: Final = 0x12
#: The format of a record that brings its own size; the others hold their value in the place of it.
_SIZED: Final = 4
_SYMBOLS: Final = 2  # SHT_SYMTAB and STT_FUNC of the ELF specification
_FUNCTION: Final = 2
_ABI_AT: Final = 8
_ABI_OF_CUDA_13: Final = 8
_INFO: Final = ".nv.info"
_TEXT: Final = ".text."
_SHARED: Final = ".nv.shared."
#: From capability 9.0 on, a kernel's section of shared memory begins with what CUDA keeps for itself (CUDA C++
#: Programming Guide, technical specifications: 1 KB per block).
_RESERVED: Final = 1024
_RESERVED_SINCE: Final = 90


@dataclass(frozen=True, slots=True)
class Resources:
    """What one kernel needs.

    Attributes:
        registers: per thread.
        local: bytes of local memory per thread: arrays that are not in registers, and registers spilled.
        shared: bytes of static shared memory per block.
    """

    registers: int
    local: int
    shared: int


@dataclass(frozen=True, slots=True)
class _Section:
    kind: int
    offset: int
    size: int
    entry_size: int


def resources(cubin: bytes) -> dict[str, Resources]:
    """Return what each function in a cubin needs, by name.

    Raises:
        ValueError: it is no cubin.
    """
    if cubin[:5] != _MAGIC:
        raise ValueError(f"not a cubin: it begins with {cubin[:5]!r}, and a 64-bit ELF file with {_MAGIC!r}")
    sections = _sections(cubin)
    names = _symbols(cubin, sections)
    registers: dict[str, int] = {}
    local: dict[str, int] = {}
    for attribute, symbol, value in _records(_content(cubin, sections[_INFO])):
        table = {_REGISTERS: registers, _STACK: local}.get(attribute)
        if table is not None and symbol in names:
            table[names[symbol]] = value
    kept = _RESERVED if _capability(cubin) >= _RESERVED_SINCE else 0
    return {
        name: Resources(registers[name], local.get(name, 0), max(_size(sections, _SHARED + name) - kept, 0))
        for name in sorted(registers)
        if _TEXT + name in sections
    }


def _capability(cubin: bytes) -> int:
    """Return major * 10 + minor, which CUDA 13 moved within the flags of the ELF header."""
    (flags,) = struct.unpack_from("<I", cubin, 48)
    return int(flags >> 8 & 0xFF) if cubin[_ABI_AT] >= _ABI_OF_CUDA_13 else int(flags & 0xFF)


def _sections(cubin: bytes) -> dict[str, _Section]:
    (table,) = struct.unpack_from("<Q", cubin, 40)
    size, count, names_at = struct.unpack_from("<3H", cubin, 58)
    rows = [struct.unpack_from("<2I4Q2I2Q", cubin, table + i * size) for i in range(count)]
    text = rows[names_at][4]
    return {
        _string(cubin, text + name_at): _Section(kind, offset, nbytes, entry)
        for name_at, kind, _, _, offset, nbytes, _, _, _, entry in rows
    }


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def _content(cubin: bytes, section: _Section) -> bytes:
    return cubin[section.offset : section.offset + section.size]


def _size(sections: dict[str, _Section], name: str) -> int:
    return sections[name].size if name in sections else 0


def _symbols(cubin: bytes, sections: dict[str, _Section]) -> dict[int, str]:
    """Return the names of the functions, by number."""
    table = next(s for s in sections.values() if s.kind == _SYMBOLS)
    strings = sections[".strtab"].offset
    found = {}
    for i in range(table.size // table.entry_size):
        name_at, info = struct.unpack_from("<IB", cubin, table.offset + i * table.entry_size)
        if info & 0xF == _FUNCTION:
            found[i] = _string(cubin, strings + name_at)
    return found


def _records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield attribute, symbol and value of each record that has those."""
    at = 0
    while at + 4 <= len(data):
        form, attribute, size = struct.unpack_from("<2BH", data, at)
        at += 4
        if form == _SIZED:
            if size == 8:
                yield (attribute, *struct.unpack_from("<2I", data, at))
            at += size
