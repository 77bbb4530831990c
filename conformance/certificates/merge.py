"""Shards of one run into one complete certificate, or a refusal that names what is missing, doubled or different."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from ..identity import suite_digest
from .assemble import Evidence, assemble
from .errors import CertificateError
from .model import Certificate, KernelRow, Obstacle, Worst
from .reconcile import MENDED_BY_MERGING, lacking_shards, reconcile

#: Facts of the machine that may differ between shards: they change how long a run takes.
_FREE: Final = frozenset({"cpus", "system"})

#: What shards of one run have in common, and how to say it.
_SAME: Final[tuple[tuple[str, Callable[[Certificate], Any]], ...]] = (
    ("suite", lambda c: c.suite),
    ("backend and version", lambda c: (c.backend.name, c.backend.version)),
    ("implementation", lambda c: c.backend.implementation),
    ("claims", lambda c: c.backend.claims),
    ("dependencies", lambda c: c.backend.dependencies),
    ("device", lambda c: (c.device.kind, c.device.model, c.device.flushes_subnormals, c.device.features)),
    ("seed", lambda c: c.run.seed),
    ("environment", lambda c: {k: v for k, v in c.environment.items() if k not in _FREE}),
    ("number of shards", lambda c: sorted({s.partition("/")[2] for s in c.run.shards})),
)


def merge(shards: Sequence[Certificate], names: Sequence[str] = ()) -> Certificate:
    """Return the complete certificate of a run that was shared out.

    Args:
        shards: certificates of ``opmux conformance --shard I/N``, in any order.
        names: of their files, for messages.

    Raises:
        CertificateError: they are not all shards of one run, or something is missing or doubled.
    """
    names = names or [f"certificate {i}" for i in range(1, len(shards) + 1)]
    if len(shards) < 2:
        raise CertificateError("merging takes two certificates or more: one for each shard of a run")
    faults = [f"{name} is no shard of a run" for c, name in zip(shards, names, strict=True) if not c.run.shards]
    faults += _differences(shards, names)
    faults += [f"{name}: {o.reason}: {o.detail}" for c, name in zip(shards, names, strict=True) for o in _own(c)]
    parts = Counter(s for c in shards for s in c.run.shards)
    faults += [f"shard {s} is given {n} times" for s, n in parts.items() if n > 1]
    faults += [f"shard {s} is missing" for s in lacking_shards(parts)]
    if not faults and shards[0].suite.digest != suite_digest():
        faults.append(f"they are of the suite of opmux {shards[0].suite.version}, which is needed to merge them")
    if faults:
        raise CertificateError(f"these are not the shards of one whole run: {'; '.join(faults)}", faults=tuple(faults))
    made = _merged(shards)
    if made.incomplete:
        told = "; ".join(f"{o.reason}: {o.detail}" for o in made.incomplete)
        raise CertificateError(f"together they are not complete: {told}", faults=made.incomplete)
    return made


def _own(c: Certificate) -> list[Obstacle]:
    return [o for o in c.incomplete if o.reason not in MENDED_BY_MERGING]


def _differences(shards: Sequence[Certificate], names: Sequence[str]) -> list[str]:
    first = shards[0]
    return [
        f"{what} of {name} is {value(c)!r}, of {names[0]} {value(first)!r}"
        for what, value in _SAME
        for c, name in zip(shards[1:], names[1:], strict=True)
        if value(c) != value(first)
    ]


def _merged(shards: Sequence[Certificate]) -> Certificate:
    # In the order of the shards: the same certificate, in whichever order they are given.
    ordered = sorted(shards, key=lambda c: [tuple(map(int, s.split("/"))) for s in c.run.shards])
    first = ordered[0]
    cases: dict[str, dict[str, str]] = defaultdict(dict)
    doubled = []
    for c in ordered:
        for pair, rest in c.cases.items():
            doubled += [f"{pair}-{label}" for label in rest if label in cases[pair]]
            cases[pair] |= rest
    run = replace(
        first.run,
        begun=min(c.run.begun for c in ordered),
        seconds=round(sum(c.run.seconds for c in ordered), 3),
        command=first.run.command.replace(f" --shard {first.run.shards[0]}", ""),
        resumed=any(c.run.resumed for c in ordered),
        shards=tuple(s for c in ordered for s in c.run.shards),
    )
    return assemble(
        Evidence(
            first.suite, first.backend, first.device, first.environment, run,
            reconcile(cases, run, first.backend, doubled),
            sum(c.assertions for c in ordered),
            dict(cases),
            _kernels(ordered),
            _worst(ordered),
            tuple(f for c in ordered for f in c.failures),
            tuple({repr(w): w for c in ordered for w in c.waivers}.values()),
            tuple(w for c in ordered for w in c.warnings),
            tuple(dict.fromkeys(t for c in ordered for t in c.troubles)),
            tuple(dict.fromkeys(f for c in ordered for f in c.waiver_faults)),
            next((c.performance for c in ordered if c.performance is not None), None),
        )
    )  # fmt: skip


def _kernels(shards: Sequence[Certificate]) -> dict[str, tuple[KernelRow, ...]]:
    found: dict[str, dict[str, KernelRow]] = defaultdict(dict)
    for row in (row for c in shards for row in c.ops):
        for k in row.kernels:
            known = found[row.pair].get(k.name)
            if known is not None:
                worst = max((w for w in (known.worst_ulp, k.worst_ulp) if w is not None), default=None)
                k = replace(k, ran=known.ran + k.ran, worst_ulp=worst, refuted=known.refuted or k.refuted)
            found[row.pair][k.name] = k
    return {pair: tuple(some.values()) for pair, some in found.items()}


def _worst(shards: Sequence[Certificate]) -> dict[str, tuple[Worst, ...]]:
    found: dict[str, dict[str, Worst]] = defaultdict(dict)
    for row in (row for c in shards for row in c.ops):
        for w in row.worst:
            known = found[row.pair].get(w.unit)
            if known is None or w.error > known.error:
                found[row.pair][w.unit] = w
    return {pair: tuple(some.values()) for pair, some in found.items()}
