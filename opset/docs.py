"""The opset reference, one Markdown page per family, written from the declarations alone."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..core.dtypes import KINDS, DType
from ..core.op import COLLECTIVES, OPS, Op, all_ops
from . import namespace
from .accuracy import Accumulated, Accuracy, Composed, Exact, Ulp
from .declare import VERSION, declaration_of
from .profiles import PROFILES
from .recipes.registry import ops_with_recipes

#: Groups that are written as one word where a dtype list holds them whole, widest first.
_GROUPS: Final = ("numeric", "integral", "signed integer", "unsigned integer", "real floating", "complex floating")


def families() -> dict[str, list[Op]]:
    """Return the ops by family, both sorted by name."""
    found: dict[str, list[Op]] = {}
    for op in sorted(all_ops(), key=lambda op: op.name):
        found.setdefault(declaration_of(op).family, []).append(op)
    return dict(sorted(found.items()))


def dtypes_in_words(dtypes: tuple[DType, ...]) -> str:
    """Return a list of dtypes, whole groups by their names.

    >>> from opmux.core.dtypes import FLOATS, bool_
    >>> dtypes_in_words((bool_, *FLOATS))
    'real floating; bool'
    """
    left = list(dtypes)
    words = []
    for group in _GROUPS:
        members = KINDS[group]
        if all(t in left for t in members):
            words.append(group)
            left = [t for t in left if t not in members]
    return "; ".join([*words, *(t.name for t in left)])


def accuracy_in_words(accuracy: Accuracy) -> Iterator[str]:
    """Yield the lines that say how far a result may lie from the true one."""
    match accuracy:
        case Exact():
            yield "Exact: every bit is given, the sign of zero included; all NaNs count as equal."
        case Ulp(bounds):
            yield "| dtype | largest error in ULP |"
            yield "|---|---|"
            for name, bound in bounds.items():
                yield f"| {name} | {bound:g}{' (correctly rounded)' if bound == 0.5 else ''} |"
        case Accumulated(factor, terms, multiplicative):
            of = "the result" if multiplicative else "the sum of the terms' magnitudes"
            yield (
                f"Within {factor:g} n eps of {of}, and half an ULP; n counts the {terms} elements, eps is that of the "
                f"accumulator."
            )
        case Composed(factor, growth, scale):
            grown = " n" if growth == "terms" else ""
            of = "result" if scale == "result" else "operands and the result"
            yield (
                f"Each step meets its own contract. An implementation of the whole is within {factor:g}{grown} eps of "
                f"the magnitude of the {of}."
            )


def _how_made(op: Op) -> str:
    if "collective" in op.facts:
        return "Collective: over a mesh, by a kernel over the memory of all ranks, or by one of several algorithms."
    profiles = [p.name for p in PROFILES.values() if p.name.startswith("core-") and op.name in p.ops]
    if declaration_of(op).core:
        return f"Core primitive: in {', '.join(profiles)}; no device of its own may decline it."
    if not op.primitive:
        return "Composite: its meaning below is its decomposition too."
    if op.name in ops_with_recipes():
        return "Primitive; a device without a kernel for it runs its recipe on core ops."
    if op.decomposition is not None:
        return "Primitive; a device without a kernel for it runs its decomposition into core ops."
    return "Primitive of an optional profile; it has no decomposition."


def meaning_of(op: Op) -> str:
    """Return the reference meaning's statements."""
    lines = inspect.getsource(declaration_of(op).body).splitlines()
    ends = [i for i, line in enumerate(lines) if line.rstrip().endswith('"""')]
    return inspect.cleandoc("\n" + "\n".join(lines[ends[-1] + 1 :]))


def signature_of(op: Op) -> str:
    """Return the public function as it is called."""
    function = getattr(namespace, op.name, None) or COLLECTIVES.public.get(op.name)
    shown = inspect.signature(function) if function is not None else "(...)"
    return f"{op.name}{shown}".replace("'", "")


def describe(op: Op) -> str:
    """Return the section of one op, in Markdown."""
    said = declaration_of(op)
    facts = sorted(op.facts)
    lines = [f"## {op.name}", "", "```python", signature_of(op), "```", "", *_doc(said.doc), "", _how_made(op), ""]
    lines += [f"**Dtypes**: {dtypes_in_words(said.dtypes)}.", ""]
    if facts:
        lines += [f"**Facts**: {', '.join(facts)}.", ""]
    lines += ["**Accuracy**", "", *accuracy_in_words(said.accuracy), ""]
    if said.specials:
        lines += ["**Special cases**", "", *(f"- `{s}`" for s in said.specials), ""]
    over = "np" if op.primitive else "ox"
    lines += [f"**Meaning**, over `{over}`", "", "```python", meaning_of(op), "```", ""]
    return "\n".join(lines)


def _doc(doc: str) -> list[str]:
    """Return a docstring's lines, examples fenced and references to ops as code."""
    lines: list[str] = []
    inside = False
    for line in doc.splitlines():
        if line.startswith(">>>") and not inside:
            lines.append("```pycon")
            inside = True
        elif not line.strip() and inside:
            lines.append("```")
            inside = False
        lines.append(line.replace(":func:", "").replace(":mod:", "").replace("``", "`") if not inside else line)
    return [*lines, "```"] if inside else lines


def write(directory: Path) -> None:
    """Write one page per family into a directory, and an index of them.

    Args:
        directory: exists already.
    """
    groups = families()
    for family, ops in groups.items():
        doc = (sys.modules[declaration_of(ops[0]).body.__module__].__doc__ or family).strip()
        text = "\n".join([f"# {family.capitalize()}", "", doc, "", *map(describe, ops)])
        (directory / f"{family}.md").write_text(text, encoding="utf-8")
    primitives = sum(op.primitive for op in OPS)
    core = sum(declaration_of(op).core for op in OPS)
    composites = len(OPS) - primitives
    counts = f"{primitives} primitives, {core} of them core, {composites} composites, {len(COLLECTIVES)} collectives"
    index = [
        "# Opset reference",
        "",
        f"Version {VERSION}: {counts}.",
        "",
        "```{toctree}",
        ":maxdepth: 1",
        "",
        *groups,
        "```",
        "",
    ]
    (directory / "index.md").write_text("\n".join(index), encoding="utf-8")
