"""What representative kernels of every family need of a multiprocessor, for every target, beside what they did.

Each module of this package is a family and has a function ``variants``. ``python -m tests.backends.cuda.resources``
compares what NVRTC makes now with ``table.json``; ``--write`` accepts it.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from opmux.backends.cuda.compiling.cubin import Resources
from opmux.backends.cuda.compiling.nvrtc import version
from opmux.backends.cuda.compiling.targets import TARGETS
from tests.backends.cuda.compiling.pool import compile_all, targets_for

TABLE: Final = Path(__file__).with_name("table.json")
ACCEPT: Final = "python -m tests.backends.cuda.resources --write"
#: Share by which registers or shared memory may grow unnoticed: another version of NVRTC moves them by a few.
GROWTH: Final = 0.15


@dataclass(frozen=True, slots=True)
class Variant:
    """One kernel whose needs are watched.

    Attributes:
        name: unique within its family, such as ``"dense exp float32"``.
        body: the kernel's text.
        parts: the shared files that it uses.
        entry: the function that is watched.
        dynamic: bytes of dynamic shared memory that a launch gives it.
    """

    name: str
    body: str
    parts: tuple[str, ...]
    entry: str
    dynamic: int = 0


@dataclass(frozen=True, slots=True)
class Needs(Resources):
    """What a kernel needs as it is launched.

    Attributes:
        dynamic: bytes of dynamic shared memory per block.
    """

    dynamic: int = 0


#: By variant, then by target.
Table = dict[str, dict[str, Needs]]


def families() -> list[str]:
    """Return the names of the modules of this package."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "__main__")


def variants(family: str) -> Iterator[Variant]:
    """Yield the variants of a family."""
    yield from importlib.import_module(f"{__name__}.{family}").variants()


def measured(family: str, targets: Collection[str] = TARGETS) -> Table:
    """Compile a family for targets and return what it needs."""
    return needed({f"{family}: {variant.name}": variant for variant in variants(family)}, targets)


def needed(named: Mapping[str, Variant], targets: Collection[str] = TARGETS) -> Table:
    """Compile variants for those of the targets that they are for and return what they need.

    Raises:
        ValueError: one does not compile.
    """
    asked = [(name, v, t) for name, v in named.items() for t in targets_for(v.parts) if t in targets]
    made = compile_all((v.body, v.parts, target) for _, v, target in asked)
    found: Table = {}
    for name, v, target in asked:
        entries = made[v.body, v.parts, target]
        if isinstance(entries, str):
            raise ValueError(f"{name} on {target}: {entries}")
        found.setdefault(name, {})[target] = Needs(**asdict(entries[v.entry]), dynamic=v.dynamic)
    return found


def kept() -> tuple[str, Table]:
    """Return the version of NVRTC that the table is of, and the table."""
    document = json.loads(TABLE.read_text(encoding="utf-8"))
    rows = {name: {t: Needs(*r) for t, r in row.items()} for name, row in document["kernels"].items()}
    return document["nvrtc"], rows


def worse(before: Table, now: Table, by: str) -> list[str]:
    """Return what to say of every kernel that needs more than before, or that the table has not.

    Args:
        before: what was kept.
        now: what was measured.
        by: the version of NVRTC that *before* is of.
    """
    found = []
    for name, row in now.items():
        for target, needs in row.items():
            had = before.get(name, {}).get(target)
            if had is None:
                found.append(f"{name} on {target} is not in {TABLE.name}; to add it: {ACCEPT}")
                continue
            grown = [
                f"{what} {was} -> {is_now}"
                for (what, was), is_now in zip(asdict(had).items(), asdict(needs).values(), strict=True)
                if is_now > was * (1 if what == "local" else 1 + GROWTH)
            ]
            if grown:
                found.append(
                    f"{name} on {target} needs more (NVRTC {by} before, {_version()} now): {', '.join(grown)}; "
                    f"to accept: {ACCEPT}"
                )
    return found


def write(now: Table) -> None:
    """Keep what was measured."""
    kernels = {
        name: {target: list(asdict(r).values()) for target, r in row.items()} for name, row in sorted(now.items())
    }
    lines = [f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in kernels.items()]
    head = f'{{\n"nvrtc": "{_version()}",\n"columns": ["registers", "local", "shared", "dynamic"],\n"kernels": {{\n'
    TABLE.write_text(head + ",\n".join(lines) + "\n}\n}\n", encoding="utf-8")


def _version() -> str:
    return ".".join(map(str, version()))
