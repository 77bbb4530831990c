"""How IR text spells vectors and constants; a width of 1 means the element itself."""

from __future__ import annotations

from collections.abc import Sequence


def vector(element: str, width: int) -> str:
    """The IR type of `width` elements.

    >>> vector("float", 16), vector("float", 1)
    ('<16 x float>', 'float')
    """
    return element if width == 1 else f"<{width} x {element}>"


def suffix(element: str, width: int) -> str:
    """How an intrinsic's name spells that type.

    >>> suffix("double", 8)
    'v8f64'
    """
    spelled = {"half": "f16", "float": "f32", "double": "f64", "ptr": "p0"}.get(element, element)
    return spelled if width == 1 else f"v{width}{spelled}"


def every(element: str, constant: str, width: int) -> str:
    """A constant in every lane, without its type.

    >>> every("i32", "7", 4)
    'splat (i32 7)'
    """
    return constant if width == 1 else f"splat ({element} {constant})"


class Tables:
    """The constant tables of one module, equal ones shared."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, tuple[int, ...]], str] = {}

    def name(self, bits: int, patterns: Sequence[int]) -> str:
        """The global that holds these bit patterns as integers of `bits` bits."""
        return self._names.setdefault((bits, tuple(patterns)), f"@table{len(self._names)}")

    def definitions(self) -> list[str]:
        """The globals, as IR; 64-byte aligned, so that a small table fills as few cache lines as it can."""
        return [
            f"{name} = private unnamed_addr constant [{len(patterns)} x i{bits}] "
            f"[{', '.join(f'i{bits} {p}' for p in patterns)}], align 64"
            for (bits, patterns), name in self._names.items()
        ]
