"""The opset's snapshot: a hash per op, committed, so that no meaning or contract changes unseen.

Run ``python -m opmux.opset.snapshot`` to compare, with ``--write`` to take a new one. An added op steps MINOR of
:data:`opmux.opset.declare.VERSION`; a removed op, or a changed meaning or contract, steps MAJOR. Until 1.0 any change
steps MINOR and needs a line in ``CHANGELOG.md``.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import inspect
import json
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..core.op import Op, all_ops
from . import namespace  # noqa: F401 - every op has to be declared before its hash is taken
from .accuracy import Accuracy, Ulp
from .collectives import ops, reference  # noqa: F401 - likewise
from .declare import VERSION, declaration_of

FILE: Final = Path(__file__).with_name("snapshot.json")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An opset version and the hash of each op."""

    version: str
    ops: dict[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """How two snapshots differ.

    Attributes:
        added, removed, changed: names of ops.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @property
    def step(self) -> str:
        """Which part of the version is due to step."""
        return "MAJOR" if self.removed or self.changed else "MINOR"

    def __str__(self) -> str:
        parts = (("added", self.added), ("removed", self.removed), ("changed", self.changed))
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names) or "no difference"


def _contract(accuracy: Accuracy) -> str:
    """Return an accuracy contract as text that does not hang on the order of its entries."""
    if isinstance(accuracy, Ulp):
        return f"Ulp({sorted(accuracy.bounds.items())})"
    return repr(accuracy)


def _source(op: Op) -> str:
    """Return the reference body without its decorator, whose arguments count by what they mean, and without layout."""
    body = inspect.getsource(declaration_of(op).body)
    own = ast.unparse(ast.parse(textwrap.dedent(body[body.index("def ") :])))
    return own + ast.unparse(ast.parse(inspect.getsource(reference))) if "collective" in op.facts else own


def hash_of(op: Op) -> str:
    """Return the hash of all that an op promises: signature, dtypes, contract, special cases, facts, meaning, core."""
    said = declaration_of(op)
    fields = ("name", "role", "annotation", "default", "required", "positional")
    text = {
        "signature": [":".join(repr(getattr(p, f)) for f in fields) for p in op.parameters],
        "dtypes": sorted(t.name for t in said.dtypes),
        "accuracy": _contract(said.accuracy),
        "specials": list(said.specials),
        "facts": sorted(op.facts),
        "promotes": op.promotes,
        "primitive": op.primitive,
        "body": _source(op),
        "core": said.core,
    }
    return hashlib.sha256(json.dumps(text, sort_keys=True).encode()).hexdigest()[:16]


def take() -> Snapshot:
    """Return the snapshot of the opset as it is declared now."""
    return Snapshot(VERSION, {op.name: hash_of(op) for op in sorted(all_ops(), key=lambda op: op.name)})


def committed() -> Snapshot:
    """Return the snapshot that the package carries."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return Snapshot(found["version"], dict(found["ops"]))


def compare(old: Snapshot, new: Snapshot) -> Difference:
    """Return what differs between two snapshots."""
    changed = tuple(name for name, digest in new.ops.items() if name in old.ops and old.ops[name] != digest)
    return Difference(
        tuple(name for name in new.ops if name not in old.ops),
        tuple(name for name in old.ops if name not in new.ops),
        changed,
    )


def write(file: Path = FILE) -> None:
    """Write the snapshot of the opset as it is declared now."""
    now = take()
    file.write_text(json.dumps({"version": now.version, "ops": now.ops}, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Compare the opset with its snapshot, or write a new one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="take a new snapshot")
    if parser.parse_args().write:
        write()
        return 0
    difference = compare(committed(), take())
    if difference:
        print(
            f"{difference}. Step {difference.step} of VERSION in opset/declare.py (before 1.0: MINOR), add a line to "
            f"CHANGELOG.md, and run python -m opmux.opset.snapshot --write",
            file=sys.stderr,
        )
    return 1 if difference else 0


if __name__ == "__main__":
    raise SystemExit(main())
