"""Flags: what became slower beyond the noise, and where the cost model mispredicts. They never fail a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from .measure import FEWEST_SAMPLES, Measurement
from .stats import deviation, mape, spearman, spread

Kind = Literal["slower", "slower-throughout", "cost-model", "not-comparable"]

#: A slowdown of less is no news, whatever the noise says.
LEAST_SLOWDOWN: Final = 1.5
#: Standard deviations of the noise between runs that a slowdown must exceed.
DEVIATIONS: Final = 4.0
#: With fewer rows in common, the drift and the noise between runs cannot be told from what became slower.
FEWEST_COMMON: Final = 12
#: The cost model is flagged below this rank correlation, within a size class, and above this mean error.
LEAST_CORRELATION: Final = 0.7
MOST_ERROR: Final = 1.0
#: Rows of the worst predictions that a flag names.
_WORST: Final = 2


@dataclass(frozen=True, slots=True)
class Flag:
    """Something that a person should look at.

    Attributes:
        kind: ``"slower"``, ``"slower-throughout"``, ``"cost-model"`` or ``"not-comparable"``.
        op, dtype, size_class: which calls; None for all.
        message: a sentence.
        figures: its numbers.
    """

    kind: Kind
    op: str | None
    dtype: str | None
    size_class: str | None
    message: str
    figures: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def regressions(now: Iterable[Measurement], before: Iterable[Measurement]) -> tuple[Flag, ...]:
    """Return a flag for every row that became slower beyond the noise of both runs, the worst first.

    The rule, per size class, over the rows with at least FEWEST_SAMPLES undisturbed samples in both runs. Of the
    logarithms of the ratios of medians, the median is the drift of the machine and the interquartile range, as a
    standard deviation, the noise between runs. A row is flagged when all of these hold:

    - it takes at least LEAST_SLOWDOWN times as long, in itself and beside the drift;
    - beside the drift it is slower by DEVIATIONS standard deviations of the noise between runs;
    - the noise within the runs does not explain it: its fastest sample now, the drift taken off, is slower than the
      slowest quarter before. (Noise is other work on the machine: it lengthens samples and shortens none.)

    With fewer than FEWEST_COMMON rows in a class the drift and the noise between runs are not known; then only the
    first and the last count. A drift beyond LEAST_SLOWDOWN is a flag of its own.
    """
    earlier = {m.key: m for m in before}
    pairs = [(m, earlier[m.key]) for m in now if m.key in earlier]
    pairs = [p for p in pairs if all(m.repeats >= FEWEST_SAMPLES and not m.disturbed for m in p)]
    found: list[Flag] = []
    for size in dict.fromkeys(m.size_class for m, _ in pairs):
        found += _slower([p for p in pairs if p[0].size_class == size])
    found.sort(key=lambda f: -f.figures["slowdown"])
    throughout = _throughout(pairs)
    return tuple(found) if throughout is None else (throughout, *found)


def _slower(pairs: Sequence[tuple[Measurement, Measurement]]) -> Iterator[Flag]:
    logs = [math.log(m.seconds / old.seconds) for m, old in pairs]
    many = len(logs) >= FEWEST_COMMON
    drift = max(spread(logs).median, 0.0) if many else 0.0
    noise = deviation(logs) if many else 0.0
    threshold = max(math.log(LEAST_SLOWDOWN), DEVIATIONS * noise)
    for (m, old), log in zip(pairs, logs, strict=True):
        apart = math.log(m.best / old.q3) - drift > 0
        if apart and log - drift >= threshold:
            yield _slower_flag(m, old, noise, math.exp(drift))


def _slower_flag(m: Measurement, old: Measurement, noise: float, drift: float) -> Flag:
    slowdown = m.seconds / old.seconds
    kernels = "" if m.kernel == old.kernel else f"; {m.kernel} runs it now, {old.kernel} did"
    message = (
        f"{m.op} on {m.dtype}, {m.size_class}, takes {m.seconds * 1e6:.3g} us and took {old.seconds * 1e6:.3g}: "
        f"{slowdown:.2f} times as long, beyond the noise{kernels}"
    )
    figures = {
        "seconds": m.seconds, "best": m.best, "before": old.seconds, "slowest_quarter_before": old.q3,
        "slowdown": slowdown, "noise_between_runs": noise, "drift": drift, "kernel": m.kernel,
        "kernel_before": old.kernel,
    }  # fmt: skip
    return Flag("slower", m.op, m.dtype, m.size_class, message, figures)


def _throughout(pairs: Sequence[tuple[Measurement, Measurement]]) -> Flag | None:
    """Return a flag where everything became slower: a busy or another machine, or a cost that every call has."""
    if len(pairs) < FEWEST_COMMON:
        return None
    drift = math.exp(spread([math.log(m.seconds / old.seconds) for m, old in pairs]).median)
    if drift <= LEAST_SLOWDOWN:
        return None
    message = (
        f"half of {len(pairs)} calls take at least {drift:.2f} times as long as before: another load or clock of the "
        f"machine, or a cost that every call has"
    )
    return Flag("slower-throughout", None, None, None, message, {"slowdown": drift, "rows": len(pairs)})


@dataclass(frozen=True, slots=True)
class Prediction:
    """How well the cost model predicts.

    Attributes:
        size_class: of the rows; None for all.
        rows: how many.
        correlation: Spearman's, of predicted and measured seconds; None where there is none.
        mape: mean absolute error, as a fraction of the measured seconds.
    """

    size_class: str | None
    rows: int
    correlation: float | None
    mape: float | None


def predictions(rows: Sequence[Measurement]) -> tuple[Prediction, ...]:
    """Return how well the cost model predicts, over all rows and within each size class.

    Over all rows the sizes alone make the ranks agree; the right choice of a kernel hangs on those within a class.
    """
    groups: dict[str | None, list[Measurement]] = {None: list(rows)}
    for m in rows:
        groups.setdefault(m.size_class, []).append(m)
    return tuple(_prediction(size, group) for size, group in groups.items() if group)


def _prediction(size: str | None, rows: Sequence[Measurement]) -> Prediction:
    predicted, measured = [m.predicted for m in rows], [m.seconds for m in rows]
    return Prediction(size, len(rows), spearman(predicted, measured), mape(predicted, measured))


def cost_model(rows: Sequence[Measurement]) -> tuple[Flag, ...]:
    """Return a flag for every size class, and for all rows, in which the cost model mispredicts.

    That is a rank correlation below LEAST_CORRELATION (of a small class, where every call is a launch, it says little
    and is not asked) or a mean error beyond MOST_ERROR of the measured time.
    """
    return tuple(f for p in predictions(rows) if (f := _mispredicts(p, rows)) is not None)


def _mispredicts(p: Prediction, rows: Sequence[Measurement]) -> Flag | None:
    said = []
    if p.correlation is not None and p.size_class != "small" and p.correlation < LEAST_CORRELATION:
        said.append(f"ranks them wrongly (correlation {p.correlation:.2f}, at least {LEAST_CORRELATION:g} is wanted)")
    if p.mape is not None and p.mape > MOST_ERROR:
        said.append(f"is off by {p.mape:.0%} on average (at most {MOST_ERROR:.0%} is wanted)")
    if not said:
        return None
    group = [m for m in rows if p.size_class in (None, m.size_class)]
    worst = sorted(group, key=lambda m: -abs(math.log(m.predicted / m.seconds)))[:_WORST]
    which = f"{p.rows} {p.size_class} calls" if p.size_class else f"all {p.rows} calls"
    named = ", ".join(f"{m.op} {m.dtype} ({_factor(m)})" for m in worst)
    figures = {
        "correlation": p.correlation, "mape": p.mape, "rows": p.rows,
        "worst": [{"op": m.op, "dtype": m.dtype, "size_class": m.size_class, "predicted": m.predicted,
                   "seconds": m.seconds} for m in worst],
    }  # fmt: skip
    message = f"of {which} the cost model {' and '.join(said)}; worst: {named}"
    return Flag("cost-model", None, None, p.size_class, message, figures)


def _factor(m: Measurement) -> str:
    return f"predicted {m.predicted / m.seconds:.2g} of the time"
