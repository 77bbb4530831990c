"""What the Array API standard lets programs ask of a namespace, and the devices there are."""

from __future__ import annotations

from typing import Final

from ..core import runtime
from ..core.arrays import defaults
from ..core.devices.device import DEVICES, Device
from ..core.dtypes import KINDS, DType
from ..core.errors import ArgumentError

API_VERSION: Final = "2024.12"
_KINDS: Final = ("bool", "signed integer", "unsigned integer", "real floating", "complex floating")


def devices() -> list[Device]:
    """Return every device present, backends loaded.

    >>> import opmux as ox
    >>> ox.devices()[0].name
    'cpu:0'
    """
    runtime.ensure_loaded()
    return list(DEVICES)


class NamespaceInfo:
    """The Array API standard's inspection object."""

    def capabilities(self) -> dict[str, bool | int | None]:
        """Return what the namespace can do: indexing by booleans, results whose shapes depend on data, most axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """Return the device on which arrays are made where nothing else says."""
        return defaults.device()

    def default_dtypes(self, *, device: Device | str | None = None) -> dict[str, DType]:
        """Return the dtypes that arrays take where nothing else says."""
        integer = defaults.dtype_of(0)
        return {
            "real floating": defaults.float_dtype(),
            "complex floating": defaults.dtype_of(0j),
            "integral": integer,
            "indexing": integer,
        }

    def dtypes(
        self, *, device: Device | str | None = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, DType]:
        """Return dtypes by name: all of the standard's, or those of a kind or of several.

        Raises:
            ArgumentError: for an unknown kind.
        """
        wanted = _KINDS if kind is None else (kind,) if isinstance(kind, str) else kind
        unknown = [k for k in wanted if k not in KINDS]
        if unknown:
            known = ", ".join(map(repr, KINDS))
            raise ArgumentError(f"dtypes: unknown kind {unknown[0]!r}; known: {known}", kind=unknown[0])
        return {t.name: t for k in wanted for t in KINDS[k]}

    def devices(self) -> list[Device]:
        """Return every device present."""
        return devices()


def __array_namespace_info__() -> NamespaceInfo:
    """Return the Array API standard's inspection object.

    >>> import opmux as ox
    >>> ox.__array_namespace_info__().default_dtypes()["integral"]
    opmux.int64
    """
    return NamespaceInfo()
