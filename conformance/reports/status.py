"""How a cell of the matrix stands: a sign that needs no colour, a word, and what it means."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from ..results.outcome import Outcome

#: How what is no kernel of the op itself is named.
COMPOSED: Final = "decomposition of "


@dataclass(frozen=True, slots=True)
class Status:
    """How the cases of one op and dtype ended.

    Attributes:
        name: what pages and style sheets call it.
        sign: one character, different for every status.
        word: for people.
        meaning: one sentence for the legend.
        bad: whether it is a failure.
    """

    name: str
    sign: str
    word: str
    meaning: str
    bad: bool = False


_ALL: Final = (
    Status("crash", "!", "crashed", "A case took its process with it.", bad=True),
    Status("timeout", "T", "timed out", "A case did not end.", bad=True),
    Status("fail", "✗", "failed", "A case is wrong.", bad=True),
    Status("not_run", "?", "not run", "Something kept a case from running, so nothing is known."),
    Status("waived", "w", "waived", "A failure that a public waiver accepts until a day; it proves nothing."),
    Status("under_claim", "+", "under-claimed", "It works, and the backend does not say so."),
    Status("mixed", "±", "in part", "Some calls pass, some are refused as they should be."),
    Status("unsupported", "-", "unsupported", "Refused with the typed exception."),
    Status("composed", "◇", "passed, composed", "Every case passes, by decomposition into the backend's other ops."),
    Status("pass", "✓", "passed", "Every case passes, by a kernel of the backend."),
)
#: By name, the most urgent first.
STATUSES: Final = {s.name: s for s in _ALL}
#: An op and dtype of which nothing was tried.
ABSENT: Final = Status("absent", "·", "not tried", "Nothing of it was tried.")


def status_of(counts: Mapping[str, int], kernels: Collection[str]) -> Status:
    """Return the status of cases that ended so.

    Args:
        counts: how many ended how, by the outcomes' names.
        kernels: what ran.

    >>> status_of({"pass": 3, "fail": 1}, ["acme/exp"]).word
    'failed'
    >>> status_of({"pass": 3, "unsupported": 1}, ["acme/exp"]).sign
    '±'
    """
    passed, refused = counts.get(Outcome.PASS, 0), counts.get(Outcome.UNSUPPORTED, 0)
    for name in ("crash", "timeout", "fail", "not_run", "waived", "under_claim"):
        if counts.get(name, 0):
            return STATUSES[name]
    if refused:
        # Cases that try the refusal itself pass, and nothing runs in them.
        return STATUSES["mixed" if passed and kernels else "unsupported"]
    if not passed:
        return ABSENT
    return STATUSES["composed" if kernels and all(k.startswith(COMPOSED) for k in kernels) else "pass"]
