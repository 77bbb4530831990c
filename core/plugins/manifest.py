"""The static manifest ``opmux-backend.toml``: what opmux knows of a backend before it runs a line of it.

It lies in the backend's package and is found without importing anything: the top-level package's folder
comes from ``find_spec``, then the folders that the entry point's dotted module names are searched from the
deepest to the top, and the nearest manifest counts. So ``acme.opmux.backend`` may have it in
``acme/opmux/backend/``, ``acme/opmux/`` or ``acme/``. A backend is a package: a lone module in
``site-packages`` has no folder of its own for a manifest and is refused.

::

    name = "acme"                 # as the entry point
    version = "dynamic"           # or the backend's own; "dynamic" is the distribution's version
    spi = "0.1"                   # the interface that it was made for, MAJOR.MINOR
    opset = ">=0.1,<1"            # the opset versions that it serves
    devices = ["acme"]            # device kinds that it owns; [] or absent for a backend of kernels only
    install = "pip install acme"  # what to do where a requirement is missing
    hidden_by = ["ACME_VISIBLE"]  # environment variables that choose which devices a process is shown
    [[requires]]                  # what must be present on the machine, one of module, library, file each
    library = "libacme.so.1"
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .quarantine import QuarantineError, QuarantineReason, Stage, guarded, refusal
from .requirements import KINDS, Requirement
from .versions import parse_range, parse_version

FILE_NAME: Final = "opmux-backend.toml"
DYNAMIC: Final = "dynamic"
# A manifest is a page of text; anything larger is not one, and is not worth parsing.
_LARGEST: Final = 64 << 10
NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")
DEVICE_KIND: Final = re.compile(r"[a-z][a-z0-9_]*")
VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backend declares of itself, statically.

    Attributes:
        path: the file.
        digest: of its content.
        name: the backend's name.
        version: its version, or ``"dynamic"`` for the distribution's.
        spi: the version of the interface that it was made for.
        opset: the range of opset versions that it serves.
        devices: the device kinds that it owns.
        requires: what must be present on the machine.
        install: what to do where it is not.
        hidden_by: environment variables that choose which devices a process is shown.
    """

    path: Path
    digest: str
    name: str
    version: str
    spi: str
    opset: str
    devices: tuple[str, ...] = ()
    requires: tuple[Requirement, ...] = ()
    install: str = ""
    hidden_by: tuple[str, ...] = ()


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a non-empty string")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError("must be a string of lower-case letters, digits, '_' and '-', and begin with a letter")
    return value


def _spi(value: object) -> str:
    parse_version(_text(value))
    return str(value)


def _opset(value: object) -> str:
    parse_range(_text(value))
    return str(value)


def _devices(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and DEVICE_KIND.fullmatch(v) for v in value):
        raise ValueError('must be a list of device kinds, lower-case words such as ["acme"]')
    if "cpu" in value:
        raise ValueError("must not contain 'cpu', which belongs to opmux; kernels for it need no claim")
    if len(set(value)) < len(value):
        raise ValueError("must not name a device kind twice")
    return tuple(value)


def _variables(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and VARIABLE.fullmatch(v) for v in value):
        raise ValueError('must be a list of environment variables, such as ["ACME_VISIBLE_DEVICES"]')
    return tuple(value)


def _requires(value: object) -> tuple[Requirement, ...]:
    if not isinstance(value, list):
        raise ValueError("must be an array of tables [[requires]]")
    requirements = []
    for index, table in enumerate(value):
        if not isinstance(table, dict) or len(table) != 1 or not set(table) <= set(KINDS):
            keys = ", ".join(map(repr, table)) if isinstance(table, dict) else repr(table)
            raise ValueError(f"entry {index} has {keys or 'nothing'}; it must have exactly one of {', '.join(KINDS)}")
        ((kind, target),) = table.items()
        if kind == "module" and "." in _text(target):
            raise ValueError(f"entry {index} must name a top-level module: looking for {target!r} would import one")
        requirements.append(Requirement(kind, _text(target)))
    return tuple(requirements)


#: Every key that a manifest may have: whether it must, and what its value becomes.
_KEYS: Final[dict[str, tuple[bool, Callable[[object], Any]]]] = {
    "name": (True, _name),
    "version": (False, _text),
    "spi": (True, _spi),
    "opset": (True, _opset),
    "devices": (False, _devices),
    "requires": (False, _requires),
    "install": (False, _text),
    "hidden_by": (False, _variables),
}


def _faults(given: dict[str, Any], values: dict[str, Any]) -> Iterator[str]:
    """Yield every fault of a manifest, and fill in the values that are good."""
    allowed = ", ".join(_KEYS)
    for key in given.keys() - _KEYS.keys():
        near = difflib.get_close_matches(key, _KEYS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        yield f"unknown key {key!r}; {hint}the keys are {allowed}"
    for key, (required, convert) in _KEYS.items():
        if key not in given:
            if required:
                yield f"missing key {key!r}; required are {', '.join(k for k, (needed, _) in _KEYS.items() if needed)}"
            continue
        try:
            values[key] = convert(given[key])
        except ValueError as error:
            yield f"key {key!r} is {given[key]!r}: {error}"


def parse(content: bytes, path: Path) -> Manifest:
    """Return the manifest in a file's content.

    Raises:
        QuarantineError: naming the file, every key that is missing, unknown or wrong, and what is allowed.
    """
    try:
        given = tomllib.loads(content.decode())
    except ValueError as error:  # of the encoding or of the TOML
        message = f"{path} is not TOML: {error}"
        raise refusal(Stage.MANIFEST, QuarantineReason.BAD_MANIFEST, message, path=path) from error
    values: dict[str, Any] = {"version": DYNAMIC}
    faults = tuple(sorted(_faults(given, values)))
    if faults:
        raise refusal(
            Stage.MANIFEST, QuarantineReason.BAD_MANIFEST, f"{path}: {'; '.join(faults)}", path=path, faults=faults
        )
    return Manifest(path=path, digest=hashlib.sha256(content).hexdigest(), **values)


def package_folders(top_level: str) -> tuple[Path, ...]:
    """Return the folders of a top-level package without importing it; none for a lone module.

    Raises:
        QuarantineError: when there is no such package or module.
    """
    with guarded(Stage.MANIFEST, f"looking for the package {top_level!r}"):
        spec = importlib.util.find_spec(top_level)
    if spec is None:
        raise refusal(
            Stage.MANIFEST,
            QuarantineReason.IMPORT_ERROR,
            f"its entry point names the package {top_level!r}, which is not on the path",
        )
    return tuple(Path(folder) for folder in spec.submodule_search_locations or ())


def find(module: str) -> Manifest:
    """Return the manifest nearest to a dotted module, importing nothing.

    Raises:
        QuarantineError: when there is none, or it is not a correct one.
    """
    top_level, *rest = module.split(".")
    folders = package_folders(top_level)
    for depth in range(len(rest), -1, -1):
        for folder in folders:
            path = folder.joinpath(*rest[:depth], FILE_NAME)
            with suppress(FileNotFoundError, NotADirectoryError):
                return parse(_read(path), path)
    raise _absent(module, folders)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise refusal(Stage.MANIFEST, QuarantineReason.BAD_MANIFEST, message, path=path) from error
    if len(content) > _LARGEST:
        message = f"{path} is larger than {_LARGEST:,} bytes"
        raise refusal(Stage.MANIFEST, QuarantineReason.BAD_MANIFEST, message, path=path)
    return content


def _absent(module: str, folders: tuple[Path, ...]) -> QuarantineError:
    if not folders:
        message = f"{module!r} is a lone module; a backend is a package with {FILE_NAME} in its folder"
    else:
        message = f"no {FILE_NAME} in the package of {module!r} ({', '.join(map(str, folders))})"
    return refusal(Stage.MANIFEST, QuarantineReason.NO_MANIFEST, message, module=module)
