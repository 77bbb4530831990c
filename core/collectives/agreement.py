"""What every rank tells the others of the call that it makes, so that no result comes of calls that differ."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .failure import Cause, MeshFailure

Shape = tuple[int, ...]
#: format, number of dimensions and of shapes, mesh, sequence, collective, reduction, root, attributes, dtype, three
#: dimensions, digest of the shapes, algorithm, version of opmux, digest of the plugins.
_FORM: Final = struct.Struct("<HBBQQ14s4si8s14s3Q8s16s8s8s")
#: Bytes of a packed header.
SIZE: Final = _FORM.size
#: A header travels in a message of this many bytes, with room for the first data behind it. Of shared memory and of
#: networks alike a kilobyte more costs less than a second message.
FRAME: Final = SIZE + 1024
#: Where the number of the call lies.
_SEQUENCE: Final = slice(12, 20)
_VERSION: Final = 2
_DIMENSIONS: Final = 3


def digest(*parts: object) -> bytes:
    """Return eight bytes that differ where the parts' texts do."""
    text = "\0".join(map(str, parts)).encode()
    return hashlib.blake2b(text, digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Header:
    """A call of a collective, as its rank tells the others.

    What differs between ranks for good reason is not in it; uneven arrays bring the shapes of all ranks.

    Attributes:
        mesh: the mesh's number.
        sequence: the number of the call on the mesh, from 1.
        collective: the op's name.
        reduction: ``"sum"``, ``"max"``, ...; empty where nothing is combined.
        root: the rank that gives or gets; -1 where there is none.
        attributes: eight bytes, a digest of all else that must be equal (:func:`digest`).
        dtype: the dtype's name.
        shapes: the shape of every rank's array, or the one that all have.
        algorithm: the schedule's name.
        opmux: the version of opmux.
        plugins: eight bytes, a digest of the backends and their versions.
    """

    mesh: int
    sequence: int
    collective: str
    reduction: str = ""
    root: int = -1
    attributes: bytes = b""
    dtype: str = ""
    shapes: tuple[Shape, ...] = ()
    algorithm: str = ""
    opmux: str = ""
    plugins: bytes = b""

    def pack(self) -> bytes:
        """Return it in :data:`SIZE` bytes; long names are cut, and of the shapes only the first is legible."""
        before, after = self.around()
        return before + self.sequence.to_bytes(_SEQUENCE.stop - _SEQUENCE.start, "little") + after

    def around(self) -> tuple[bytes, bytes]:
        """Return what comes before and after the number of the call, eight bytes of which the lowest comes first."""
        said = self.mesh, self.collective, self.reduction, self.root, self.attributes, self.dtype, self.shapes
        return _packed(*said, self.algorithm, self.opmux, self.plugins)


@lru_cache(maxsize=1024)
def _packed(
    mesh: int,
    collective: str,
    reduction: str,
    root: int,
    attributes: bytes,
    dtype: str,
    shapes: tuple[Shape, ...],
    algorithm: str,
    opmux: str,
    plugins: bytes,
) -> tuple[bytes, bytes]:
    """Return the bytes before and after the number of the call, which alone changes when a program repeats itself."""
    first = shapes[0] if shapes else ()
    shown = (*first[:_DIMENSIONS], 0, 0, 0)[:_DIMENSIONS]
    made = _FORM.pack(
        _VERSION,
        min(len(first), 255),
        min(len(shapes), 255),
        mesh,
        0,
        collective.encode(),
        reduction.encode(),
        root,
        attributes,
        dtype.encode(),
        *shown,
        digest(shapes),
        algorithm.encode(),
        opmux.encode(),
        plugins,
    )
    return made[: _SEQUENCE.start], made[_SEQUENCE.stop :]


@dataclass(frozen=True, slots=True)
class Told:
    """A header as it came: what can be read of it, to be compared and shown."""

    form: int
    dimensions: int
    arrays: int
    mesh: int
    sequence: int
    collective: str
    reduction: str
    root: int
    attributes: bytes
    dtype: str
    shape: Shape
    shapes: bytes
    algorithm: str
    opmux: str
    plugins: bytes

    def __str__(self) -> str:
        """Return the call as a message shows it."""
        more = ", ..." if self.dimensions > _DIMENSIONS else ""
        shape = ", ".join(map(str, self.shape)) + more
        what = [f"{self.dtype}[{shape}]{f' and {self.arrays - 1} more shapes' if self.arrays > 1 else ''}"] * bool(
            self.dtype
        )
        what += [f"reduction={self.reduction!r}"] * bool(self.reduction)
        what += [f"root={self.root}"] * (self.root >= 0)
        return f"{self.collective}({', '.join(what)})"


def unpack(data: bytes) -> Told:
    """Return what a packed header says.

    >>> str(unpack(Header(1, 5, "all_reduce", "sum", dtype="float32", shapes=((2, 3),)).pack()))
    "all_reduce(float32[2, 3], reduction='sum')"
    """
    form, dimensions, arrays, mesh, sequence, collective, reduction, root, attributes, dtype, *rest = _FORM.unpack(data)
    return Told(
        form,
        dimensions,
        arrays,
        mesh,
        sequence,
        _text(collective),
        _text(reduction),
        root,
        attributes,
        _text(dtype),
        tuple(rest[: min(dimensions, _DIMENSIONS)]),
        rest[3],
        _text(rest[4]),
        _text(rest[5]),
        rest[6],
    )


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


#: Fields that tell of the installation and not of the call, with what is said of them and what to do.
_INSTALLED: Final[Mapping[str, tuple[Callable[[Told], str], str]]] = {
    "form": (lambda t: f"has header format {t.form}", "install the same opmux for every process"),
    "opmux": (lambda t: f"runs opmux {t.opmux}", "install the same opmux for every process"),
    "plugins": (
        lambda t: f"has the backends of digest {t.plugins.hex()}",
        "install the same backends for every process, and set OPMUX_BACKENDS and OPMUX_DISABLE alike",
    ),
    "mesh": (
        lambda t: f"calls on mesh {t.mesh:x}",
        "make every mesh on all of its ranks, of the same devices in the same order",
    ),
}
_CALLED: Final[Mapping[str, tuple[Callable[[Told], str], str]]] = {
    **dict.fromkeys(
        ("sequence", "collective", "reduction", "root", "dtype", "dimensions", "arrays", "shape", "shapes"),
        (
            lambda t: f"called {t}" if t.dimensions <= _DIMENSIONS else f"called {t} (shapes {t.shapes.hex()})",
            "every rank makes the same calls, in the same order, with the same dtype and shape",
        ),
    ),
    "attributes": (
        lambda t: f"called {t} with attributes of digest {t.attributes.hex()}",
        "give the same axis, groups, sizes and policy on every rank",
    ),
    "algorithm": (
        lambda t: f"runs {t} as {t.algorithm}",
        "pin the algorithm, or give every process the same tuning records",
    ),
}
_SAYS: Final = {**_INSTALLED, **_CALLED}


def compare(headers: Sequence[bytes | None], reporter: int = 0) -> MeshFailure | None:
    """Compare what the ranks told.

    Args:
        headers: packed, by rank; None where it is not known.
        reporter: the rank that compares.

    Returns:
        None where all that are known are equal, else who deviates from the majority; in a tie, from the lowest rank.
    """
    if len({*headers} - {None}) <= 1:
        return None
    known = {rank: unpack(data) for rank, data in enumerate(headers) if data is not None}
    counts = Counter(known.values())
    most = max(counts.values())
    usual = next(told for told in known.values() if counts[told] == most)
    deviant = tuple(rank for rank, told in known.items() if told != usual)
    first = known[deviant[0]]
    # A difference of installation explains one of the call; so it is looked for first.
    differs = [name for name in _SAYS if getattr(first, name) != getattr(usual, name)]
    says, remedy = _SAYS[differs[0]]
    others = [rank for rank, told in known.items() if told == usual]
    same = tuple(rank for rank in deviant if known[rank] == first)
    also = f"; {_names([r for r in deviant if r not in same])}: yet another call" if same != deviant else ""
    detail = f"{_names(same)} {says(first)}, but {_names(others)} {says(usual)}{also}"
    return MeshFailure(
        usual.collective, usual.sequence, deviant[0], Cause.MISMATCH, reporter, detail, ranks=deviant, remedy=remedy
    )


def _names(ranks: Sequence[int]) -> str:
    """Return ranks in words.

    >>> _names([2]), _names([0, 1, 3])
    ('rank 2', 'ranks 0, 1 and 3')
    """
    *rest, last = map(str, ranks)
    return f"ranks {', '.join(rest)} and {last}" if rest else f"rank {last}"
