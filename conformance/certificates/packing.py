"""The cases of a certificate as its file holds them: together where they ended alike, since most of them do.

A suite has tens of thousands of cases. Most ops ask the same questions of many dtypes, and most dtypes answer alike, so
the file names each question once for all that answered it the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import shown
from ..results.outcome import Outcome
from .errors import CertificateError

Cases = dict[str, dict[str, str]]


def packed(cases: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return outcomes as groups of ops and dtypes that have the same cases, ended in the same way.

    Args:
        cases: outcomes by ``op-dtype``, then by the rest of the case's id.

    >>> packed({"abs-int8": {"values": "pass", "out": "pass"}, "abs-int16": {"values": "pass", "out": "pass"}})
    [{'pairs': ['abs-int8', 'abs-int16'], 'outcomes': {'pass': ['out', 'values']}}]
    """
    groups: dict[tuple[tuple[str, tuple[str, ...]], ...], list[str]] = {}
    for pair, rest in cases.items():
        ended: dict[str, list[str]] = {str(o): [] for o in Outcome}
        for label, outcome in sorted(rest.items()):
            ended[outcome].append(label)
        groups.setdefault(tuple((o, tuple(labels)) for o, labels in ended.items() if labels), []).append(pair)
    return [{"pairs": pairs, "outcomes": {o: list(labels) for o, labels in alike}} for alike, pairs in groups.items()]


def unpacked(groups: object, where: str, order: list[str]) -> Cases:
    """Return the outcomes that :func:`packed` gave.

    Args:
        groups: from JSON.
        where: the file, for messages.
        order: the ``op-dtype`` of the certificate's rows; its cases come in this order.

    Raises:
        CertificateError: they are not what :func:`packed` gives: what can be written in two ways has two digests.
    """
    made: Cases = {}
    try:
        for group in groups:  # type: ignore[attr-defined]
            rest = {str(label): str(o) for o, labels in group["outcomes"].items() for label in labels}
            made |= {str(pair): dict(rest) for pair in group["pairs"]}
    except (TypeError, KeyError, AttributeError) as error:
        told = f"{where}: its cases are no list of groups of pairs and outcomes"
        raise CertificateError(told, where=where) from error
    if words := {o for rest in made.values() for o in rest.values()} - set(Outcome):
        raise CertificateError(f"{where} has {shown(min(words), 40)}, which is no outcome", where=where)
    if set(made) == set(order):
        made = {pair: made[pair] for pair in order}
    if packed(made) != groups:
        raise CertificateError(
            f"{where}: its cases are not grouped as they are when a certificate is written: a pair or a case is "
            f"doubled or out of order",
            where=where,
        )
    return made
