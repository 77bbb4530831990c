"""The form of a report, as one table that the check, the README and the tests all read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .errors import SchemaError

VERSION: Final = 2

#: Path, type, meaning. ``[]`` is any element of a list, ``{}`` any value of a map with free keys; a type that ends in
#: ``?`` may be null.
FIELDS: Final[tuple[tuple[str, str, str], ...]] = (
    ("schema", "int", "version of this form"),
    ("benchmark", "str", "name of the benchmark"),
    ("unit", "str", "unit of `summary[].rate`; `s` where only times are reported"),
    ("date", "str", "start of the run, UTC, ISO 8601"),
    ("quotable", "bool", "false for `--quick`, whose sizes are for tests only"),
    ("settings{}", "float", "how it was measured: rounds, seconds per sample, …"),
    ("machine.cpu", "str", "name of the CPU"),
    ("machine.cores", "int", "CPUs that the run may use"),
    ("machine.platform", "str", "operating system"),
    ("machine.load_before[]", "float", "load averages over 1, 5 and 15 minutes at the start"),
    ("machine.load_after[]", "float", "the same at the end"),
    ("machine.commit", "str?", "commit of the checkout; `+` where files differ from it"),
    ("machine.versions{}", "str", "versions of the interpreter and of every library that matters"),
    ("machine.ignored_settings[]", "str", "environment variables set by the caller that workers did not see"),
    ("peers[].name", "str", "a peer"),
    ("peers[].status", "str", "`ran`, `missing` (not installed) or `failed` (could not start)"),
    ("peers[].note", "str", "why it did not run"),
    ("peers[].versions{}", "str", "what the worker itself says of its libraries"),
    ("probes[].when", "str", "`before` or `after` the cases"),
    ("probes[].name", "str", "`fma float32`, `fma float64`, `read`, `write` or `copy`"),
    ("probes[].threads", "int", "threads that ran it side by side"),
    ("probes[].level", "str?", "where the working set lives: L1, L2, L3, memory"),
    ("probes[].bytes", "int?", "working set of all threads together"),
    ("probes[].stores", "str?", "`plain` or `streaming`, whichever was faster"),
    ("probes[].value", "float", "best burst"),
    ("probes[].median", "float", "median burst"),
    ("probes[].unit", "str", "GFLOP/s or GB/s"),
    ("left_out[]", "str", "cases that were not begun: the time was over, or the run was ended"),
    ("cases[].name", "str", "a case"),
    ("cases[].kind", "str", "what is computed"),
    ("cases[].dtype", "str", "dtype of the operands"),
    ("cases[].shapes[][]", "int", "shapes of the operands"),
    ("cases[].attributes{}", "any", "attributes of the op, and how operands lie in memory"),
    ("cases[].style", "str", "`eager` or `compiled`"),
    ("cases[].flops", "float", "operations of one call"),
    ("cases[].bytes", "float", "operands and results together"),
    ("cases[].limit", "str?", "what bounds it: `flops`, `copy`, `read`; `device copy`, `device flops` on a GPU"),
    ("measurements[].case", "str", "name of the case"),
    ("measurements[].peer", "str", "who ran; `probe` is the limit, measured in the same rounds"),
    ("measurements[].round", "int", "in which round"),
    ("measurements[].position", "int", "place in the order of the round"),
    ("measurements[].repetitions", "int", "calls in the timed loop"),
    ("measurements[].seconds", "float", "of the whole loop"),
    ("summary[].case", "str", "name of the case"),
    ("summary[].peer", "str", "who"),
    ("summary[].status", "str", "`measured`, `wrong` (outside of its tolerance), `failed` or `unsupported`"),
    ("summary[].note", "str", "why there is no number"),
    ("summary[].detail", "str", "kernels that ran, where the peer can say; for the probe what it did"),
    ("summary[].error", "float?", "largest error as a fraction of the allowed one"),
    ("summary[].seconds.median", "float", "median time of one call"),
    ("summary[].seconds.q1", "float", "first quartile"),
    ("summary[].seconds.q3", "float", "third quartile"),
    ("summary[].seconds.best", "float", "shortest"),
    ("summary[].seconds.samples", "int", "how many samples"),
    ("summary[].rate", "float?", "flops or bytes of the case per median second, in billions"),
    ("summary[].share.of_medians", "float", "rate over the probe's rate, medians"),
    ("summary[].share.paired", "float", "median of the shares within rounds"),
    ("summary[].share.q1", "float", "their first quartile"),
    ("summary[].share.q3", "float", "their third quartile"),
    ("summary[].share.rounds", "int", "rounds that had both"),
    ("summary[].ratios[].over", "str", "another peer; ratios say how many times faster than it this one is"),
    ("summary[].ratios[].of_medians", "float", "ratio of median times"),
    ("summary[].ratios[].paired", "float", "median of the ratios within rounds"),
    ("summary[].ratios[].q1", "float", "their first quartile"),
    ("summary[].ratios[].q3", "float", "their third quartile"),
    ("summary[].ratios[].rounds", "int", "rounds that had both"),
    ("targets[].name", "str", "what is to be reached"),
    ("targets[].value", "float?", "paired ratio or share, of several cases as the target says; null: not measured"),
    ("targets[].target", "float", "the least that is wanted"),
    ("targets[].met", "bool", "whether it is reached"),
    ("targets[].note", "str", "why there is no value"),
)

#: Objects that are null where nothing was measured.
_NULLABLE: Final = {"summary[].seconds", "summary[].share"}
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,), "int": (int,), "float": (int, float), "bool": (bool,), "any": (object,),
}  # fmt: skip


def markdown() -> str:
    """Return the table for the README."""
    rows = [f"| `{path}` | {kind.replace('?', ' or null')} | {meaning} |" for path, kind, meaning in FIELDS]
    return "\n".join(["| path | type | meaning |", "|---|---|---|", *rows])


def check_report(report: Mapping[str, Any]) -> None:
    """Raise unless a report has exactly the documented form.

    Raises:
        SchemaError: naming the path, and what was found there.
    """
    told = report.get("schema", VERSION) if isinstance(report, Mapping) else VERSION
    if told != VERSION:  # before what this version would miss in it
        raise SchemaError(f"schema is {told!r}; this reads version {VERSION}")
    known = {path: kind for path, kind, _ in FIELDS}
    inner = {prefix for path in known for prefix in _prefixes(path)}
    seen: set[str] = set()
    for path, value in _leaves(report, "", known, inner):
        seen.add(path)
        if path in known:
            _check_type(path, value, known[path])
    for path in known:
        if path not in seen and "[]" not in path and "{}" not in path:
            raise SchemaError(f"{path} is missing")


def _prefixes(path: str) -> Iterator[str]:
    """Yield every container on the way to a path.

    >>> list(_prefixes("a[].b{}"))
    ['a', 'a[]', 'a[].b']
    """
    for i, character in enumerate(path):
        if character in ".[{":
            yield path[:i]


def _leaves(value: Any, path: str, known: Mapping[str, str], inner: set[str]) -> Iterator[tuple[str, Any]]:
    if path in known:
        yield path, value
        return
    if path and path not in inner:
        raise SchemaError(f"{path} is not part of the form")
    if value is None and path in _NULLABLE:
        return
    if path + "{}" in known:
        yield from ((path + "{}", v) for v in _as(dict, value, path).values())
        return
    if path + "[]" in known or path + "[]" in inner:
        for element in _as(list, value, path):
            yield from _leaves(element, path + "[]", known, inner)
        return
    fields = _as(dict, value, path)
    dot = f"{path}." if path else ""
    wanted = {_first(p.removeprefix(dot)) for p in known if p.startswith(dot)}
    for missing in sorted(wanted - fields.keys()):
        raise SchemaError(f"{dot}{missing} is missing")
    for name, field in fields.items():
        yield from _leaves(field, dot + name, known, inner)


def _first(path: str) -> str:
    for i, character in enumerate(path):
        if character in ".[{":
            return path[:i]
    return path


def _as(kind: type, value: Any, path: str) -> Any:
    if not isinstance(value, kind):
        raise SchemaError(f"{path or 'the report'} is {type(value).__name__}, not {kind.__name__}")
    return value


def _check_type(path: str, value: Any, kind: str) -> None:
    if kind.endswith("?") and value is None:
        return
    allowed = _TYPES[kind.rstrip("?")]
    # bool is an int to isinstance, NaN a float: neither is a number here.
    numeric = kind.startswith(("int", "float"))
    if not isinstance(value, allowed) or (numeric and isinstance(value, bool)) or value != value:
        raise SchemaError(f"{path} is {value!r}, not {kind}")
