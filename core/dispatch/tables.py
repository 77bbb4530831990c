"""Where decisions are kept: tables that belong to one state of the registry and the claims.

When that state changes every slot gets new tables. Whoever is deciding at that moment still writes into the
old ones, which nobody reads any more, so a decision of yesterday never enters the tables of today.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from ..locks import Order, held_across_fork

if TYPE_CHECKING:
    from .decision import Decision

S = TypeVar("S", bound=Hashable)

#: Decisions kept per table; more signatures than this start it anew. A decision takes about 10 KB.
LIMIT: Final = 1 << 14
#: Settings that stay known although no policy in force has them.
_RECENT: Final = 64


class Tables(Generic[S]):
    """Decisions under one set of settings.

    Attributes:
        settings: what they were made under.
        memo: decisions by (op, signatures, exact attributes, device), for the dispatcher.
        hits: the same decisions by what a call has at hand.
        orders: the order of combination that binds calls, by (op, dtype, device): see ``eligibility``.
        captured: graphs of compiled functions, by function.
    """

    __slots__ = ("__weakref__", "captured", "hits", "memo", "orders", "settings")

    def __init__(self, settings: S) -> None:
        self.settings = settings
        self.memo: dict[Any, Decision] = {}
        self.hits: dict[Any, Decision] = {}
        self.orders: dict[Any, str | None] = {}
        self.captured: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()

    def remember(self, key: Any, decision: Decision) -> None:
        """Keep a decision of the dispatcher."""
        if len(self.memo) >= LIMIT:
            self.memo.clear()
            self.hits.clear()
        self.memo[key] = decision


class Slot(Generic[S]):
    """The place of the tables now in force for one set of settings."""

    __slots__ = ("__weakref__", "tables")

    def __init__(self, settings: S) -> None:
        self.tables: Tables[S] = Tables(settings)


_lock = held_across_fork(Order.TABLE)
_slots: Final[weakref.WeakValueDictionary[Any, Slot[Any]]] = weakref.WeakValueDictionary()
_recent: Final[deque[Slot[Any]]] = deque(maxlen=_RECENT)


def slot_of(settings: S) -> Slot[S]:
    """Return the one slot of these settings."""
    with _lock:
        found = _slots.get(settings)
        if found is None:
            found = _slots[settings] = Slot(settings)
        if not _recent or _recent[-1] is not found:
            _recent.append(found)
        return found


def forget_decisions() -> None:
    """Give every slot new tables: the registry, the claims or the records have changed."""
    with _lock:
        for slot in list(_slots.values()):
            slot.tables = Tables(slot.tables.settings)


def exact(value: Any) -> Any:
    """Return a key that tells apart what compares equal and is not the same: 1, 1.0 and True; 0.0 and -0.0.

    >>> exact(1) == exact(True)
    False
    """
    kind = value.__class__
    if kind is tuple:
        return tuple([exact(v) for v in value])
    if kind is float and not value:
        return kind, repr(value)
    if kind is complex:
        return kind, repr(value)
    return kind, value
