"""The command that writes the beginning of a backend: new-backend."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated, Final

import typer

from ..core.errors import ArgumentError
from ..core.hooks import SPI_VERSION
from ..core.plugins import manager
from ..core.plugins.manifest import DEVICE_KIND, NAME
from ..opset.declare import VERSION
from .output import messages

_COMMON: Final = {
    "pyproject.toml": "pyproject",
    "{module}/opmux-backend.toml": "manifest",
    ".github/workflows/conformance.yml": "workflow",
    ".gitignore": "gitignore",
}
#: The files of a backend with a device of its own, by template; and of one that brings kernels for ``cpu``.
_WITH_DEVICE: Final = {
    "README.md": "readme",
    **_COMMON,
    "{module}/__init__.py": "init",
    "{module}/device.py": "device",
    "{module}/kernels.py": "kernels",
    "tests/test_backend.py": "test",
}
_FOR_CPU: Final = {
    "README.md": "readme_cpu",
    **_COMMON,
    "{module}/__init__.py": "init_cpu",
    "{module}/kernels.py": "kernels_cpu",
    "tests/test_backend.py": "test_cpu",
}


class _Template(Template):
    """A file with placeholders such as ``%name``: dollars belong to workflows, and code needs no percent signs."""

    delimiter = "%"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("new-backend")(new_backend)


def new_backend(
    name: Annotated[str, typer.Argument(help="The backend's name, e.g. acme.")],
    folder: Annotated[
        Path | None, typer.Option(help="Where to write it; opmux-NAME where absent.", show_default=False)
    ] = None,
    device_kind: Annotated[
        str | None, typer.Option(help="The kind of its device; the name where absent.", show_default=False)
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="No device of its own: kernels for the cpu.")] = False,
) -> None:
    """Write the beginning of a backend: a package that installs, is found, and runs a few ops.

    Example: opmux new-backend acme
    """
    if not NAME.fullmatch(name):
        raise ArgumentError(
            f"a backend cannot be named {name!r}: a name has lower-case letters, digits, '_' and '-', and begins with "
            f"a letter",
            name=name,
        )
    kind = _kind(name, device_kind, cpu)
    target = folder if folder is not None else Path(f"opmux-{name}")
    _check_empty(target)
    _warn_of_others(name, kind)
    written = write(target, name, kind)
    messages.print(f"wrote {len(written)} files to {target}:", markup=False)
    for path in written:
        typer.echo(f"  {path}")
    profile = "" if cpu else " --profile core-f32"
    messages.print(
        f"next:\n  pip install -e '{target}[test]'\n  opmux doctor\n  opmux conformance --backend {name}{profile}",
        markup=False,
    )


def _kind(name: str, given: str | None, cpu: bool) -> str:
    if cpu and given is not None:
        raise ArgumentError("--cpu and --device-kind exclude each other: the cpu belongs to opmux", device_kind=given)
    kind = "cpu" if cpu else given if given is not None else name.replace("-", "_")
    if not DEVICE_KIND.fullmatch(kind):
        raise ArgumentError(
            f"a device kind cannot be {kind!r}: it has lower-case letters, digits and '_', and begins with a letter",
            device_kind=kind,
        )
    if kind == "cpu" and not cpu:
        raise ArgumentError("the device kind 'cpu' belongs to opmux; --cpu makes a backend of kernels for it")
    return kind


def _check_empty(target: Path) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists():
        what = "is not empty" if target.is_dir() else "is a file"
        raise ArgumentError(f"{target} {what}, and nothing is overwritten; name another one with --folder", path=target)


def _warn_of_others(name: str, kind: str) -> None:
    for status in manager.status():
        kinds = {device.partition(":")[0] for device in status.devices}
        if status.name == name:
            messages.print(
                f"warning: a backend named {name} is installed already ({status.distribution or 'registered here'}); "
                f"opmux refuses both of two backends of one name",
                markup=False,
            )
        elif kind in kinds:
            messages.print(
                f"warning: the device kind {kind} belongs to the backend {status.name}; name another one with "
                f"--device-kind",
                markup=False,
            )


def write(target: Path, name: str, kind: str) -> list[Path]:
    """Write the files of a backend and return their paths below the target.

    Args:
        target: an empty folder, or one to be made.
        name: the backend's name.
        kind: its device kind; ``"cpu"`` for a backend of kernels alone.

    Raises:
        ArgumentError: the folder cannot be written.
    """
    module = f"opmux_{name.replace('-', '_')}"
    major, minor = VERSION.split(".")[:2]
    values = {
        "name": name,
        "module": module,
        "distribution": f"opmux-{name.replace('_', '-')}",
        "kind": kind,
        "devices": "" if kind == "cpu" else f'"{kind}"',
        "profile": "" if kind == "cpu" else "\n      profile: core-f32",
        "spi": SPI_VERSION,
        "opset": f">={major}.{minor},<{int(major) + 1}",
    }
    written = []
    for pattern, template in (_FOR_CPU if kind == "cpu" else _WITH_DEVICE).items():
        path = Path(pattern.format(module=module))
        text = resources.files(f"{__package__}.templates").joinpath(f"{template}.template").read_text(encoding="utf-8")
        try:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(_Template(text).substitute(values), encoding="utf-8")
        except OSError as error:
            raise ArgumentError(f"cannot write {target / path}: {error.strerror}", path=target / path) from error
        written.append(path)
    return written
