"""A plan as one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Final

from ..conformance.reports.charts import Dot, legend, roofline
from ..conformance.reports.words import in_seconds
from .plan_words import BESIDE, OPS, beside, facts, op_cells

if TYPE_CHECKING:
    from ..backends.sim.description import Description
    from ..backends.sim.planning import OpRow, Plan
    from ..core.dispatch.calllog import CallLog

#: What the style sheet of the conformance reports has no class for.
_STYLE: Final = """
main { padding-bottom: 3rem; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1rem 0; }
dl.facts dt { color: var(--quiet); } dl.facts dd { margin: 0; }
section { border-top: 1px solid var(--line); margin-top: 2rem; }
td.long { width: 8rem; vertical-align: middle !important; }
td.long i { display: block; height: 9px; min-width: 1px; background: var(--c0); border-radius: 3px; }
"""
_VIRTUAL: Final = "Times are virtual: of a timing model of the described device, not measured."
#: Ops with a bar behind the share.
_OPS: Final = (*OPS[:5], "", *OPS[5:])
_NUMBERS: Final = frozenset({*BESIDE[1:-1], "calls", "share", "utilisation", "times as long"})


def page(log: CallLog, plans: Sequence[Plan]) -> str:
    """Return the page of one plan, or of several side by side."""
    name = " ".join(log.program) or log.where
    title = f"{name} on {plans[0].device.name}" if len(plans) == 1 else f"{name} on {len(plans)} devices"
    style = resources.files("opmux.conformance.reports.templates").joinpath("report.css").read_text(encoding="utf-8")
    made_with = f"opmux {log.opmux}, opset {log.opset}"
    body = [
        f'<header class="top"><p class="kicker">opmux plan</p><h1>{escape(title)}</h1>',
        f'<p class="quiet">{len(log.calls):,} calls recorded with {escape(made_with)}. {_VIRTUAL}</p>',
        "" if log.complete else '<p class="verdict open">The recorded program did not come to its end.</p>',
        "</header><main>",
    ]
    if len(plans) > 1:
        body.append(_table(BESIDE, [beside(p) for p in plans]))
    for p in plans:
        body += _section(p)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}{_STYLE}</style></head><body>{''.join(body)}</main></body></html>\n"
    )


def _section(p: Plan) -> list[str]:
    where = f" <small>{escape(p.device.where)}</small>" if p.device.where else ""
    said = "".join(f"<dt>{escape(what)}</dt><dd>{escape(text)}</dd>" for what, text in facts(p))
    made = [f"<section><h2>{escape(p.device.name)}{where}</h2>", f'<dl class="facts">{said}</dl>']
    made.append("<h3>What each op comes to</h3>")
    made.append('<p class="quiet">Each call by itself, added up; where engines overlap, the program takes less.</p>')
    made.append(_table(_OPS, [_op_row(r) for r in p.ops]))
    if p.absences:
        made.append("<h3>What the lack of an op costs</h3>")
        made.append('<p class="quiet">The program again, on a device that has no kernel for this op.</p>')
        rows = [(a.op, in_seconds(a.seconds), f"{a.times:.3g}", _bar(a.times / p.absences[0].times), a.instead)
                for a in p.absences]  # fmt: skip
        made.append(_table(("op", "time", "times as long", "", "done by"), rows))
    made += _roofline(p)
    return [*made, "</section>"]


def _roofline(p: Plan) -> list[str]:
    if not p.points:
        return []
    dtypes = sorted({point.dtype for point in p.points})
    bandwidth = min(p.device.off_chip.bandwidth, p.device.dma.engines * p.device.dma.bandwidth)
    dots = [
        Dot(
            q.flops / q.nbytes,
            dtypes.index(q.dtype),
            f"{q.op} {q.dtype}: {q.flops / q.seconds / 1e9:.3g} G{_unit(q.dtype)}, {in_seconds(q.seconds)} in all",
            q.flops / q.seconds,
        )
        for q in p.points
    ]
    drawn = roofline(
        dots,
        slopes=[(f"off-chip memory {bandwidth / 1e9:.4g} GB/s", bandwidth)],
        levels=_levels(p.device, dtypes),
        label="Operations per second of each op over its operations per byte, under the limits of the device",
    )
    said = "A mark is an op on one dtype; point at it for its name. A multiply and an add count as two operations."
    return ["<h3>Roofline</h3>", f'<p class="quiet">{said}</p>', legend(dtypes), f'<div class="scroll">{drawn}</div>']


def _levels(device: Description, dtypes: Sequence[str]) -> list[tuple[str, float]]:
    """Return the peak of each dtype, and that of the lanes where a matrix unit is faster: most ops run on the lanes."""
    lanes = replace(device, matrix=None)
    made = []
    for t in dtypes:
        most, least = device.peak_operations(t), lanes.peak_operations(t)
        both = most > least > 0
        for rate, where in ((most, ""), (least, " on the lanes")) if both else ((most, ""),):
            made.append((f"{t}{where} {rate / 1e12:.3g} T{_unit(t)}", rate))
    return [level for level in made if level[1] > 0]


def _unit(dtype: str) -> str:
    return "FLOP/s" if "float" in dtype else "OP/s"


class _Markup(str):
    """Text that is HTML already."""


def _bar(share: float) -> _Markup:
    return _Markup(f'<i style="width:{max(0.0, min(share, 1.0)):.1%}"></i>')


def _op_row(r: OpRow) -> tuple[object, ...]:
    cells = op_cells(r)
    return (*cells[:5], _bar(r.share), *cells[5:])


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    rows = list(rows)
    kept = [i for i in range(len(heads)) if any(row[i] is not None for row in rows)]
    head = "".join(f'<th scope="col"{_kind(heads[i])}>{escape(heads[i])}</th>' for i in kept)
    body = "".join(f"<tr>{''.join(_cell(heads[i], row[i], first=i == 0) for i in kept)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="list"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(head: str, value: object, *, first: bool) -> str:
    if isinstance(value, _Markup):
        return f'<td class="long">{value}</td>'
    text = "" if value is None else escape(str(value))
    return f'<th scope="row">{text}</th>' if first else f"<td{_kind(head)}>{text}</td>"


def _kind(head: str) -> str:
    return ' class="n"' if head in _NUMBERS else ""
