"""Few kernels that stand for many: together they have every line of text, whatever its numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

Text = tuple[str, tuple[str, ...]]
_DECLARED = re.compile(r"\b(\w+) (v\d+)\b(?= =|[,)])")
_VALUE = re.compile(r"\bv\d+\b")
_NUMBER = re.compile(r"0x[0-9a-f]+u?l*|\b\d[\w.]*\b|\b(in|out|x|y)\d+\b")
_SEPARATORS = re.compile(r"[,;{}()\n]")
#: What a compilation costs whatever the text, in characters of text: the shared parts.
_FIXED = 2000


def pieces(text: Text) -> frozenset[str]:
    """Return what a text is made of: its expressions, with the types of values in place of their names.

    >>> sorted(pieces(("const f32 v2 = v0 + v1;", ()))), sorted(pieces(("f(f32 v0, i8 v1) { const i8 v2 = v1; }", ())))
    (['const f32 f32 = ? + ?'], ['const i8 i8 = i8', 'f', 'f32 f32', 'i8 i8'])
    """
    body, parts = text
    types = {value: kind for kind, value in _DECLARED.findall(body)}
    plain = _NUMBER.sub("#", _VALUE.sub(lambda m: types.get(m[0], "?"), body))
    return frozenset(p.strip() for p in _SEPARATORS.split(plain) if p.strip()) | {f"part {p}" for p in parts}


def cover(texts: Sequence[Text]) -> list[Text]:
    """Return texts whose pieces are those of all, chosen greedily by pieces for their length."""
    made = {text: pieces(text) for text in texts}
    left, chosen = frozenset().union(*made.values()), []
    while left:
        best = max(made, key=lambda text: len(made[text] & left) / (_FIXED + len(text[0])))
        chosen.append(best)
        left -= made[best]
    return chosen
