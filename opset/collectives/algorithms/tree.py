"""The canonical tree over numbered contributions, and the local work that folds parts of it.

Contributions are blocks, numbered 0 to n - 1. Level by level neighbours are combined: (0, 1), (2, 3), ...; a last one
without a partner goes up unchanged. Node (level, j) holds the blocks from ``j * 2**level`` on, ``2**level`` of them or
as many as there are. All ops that combine are commutative, so a node does not say which of its halves is on the left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ....core.collectives.schedule import INPUT, Step, Transfer

#: A node of the tree: its level, and its number within the level.
Node = tuple[int, int]
Tree = tuple["Tree", "Tree"] | int


@dataclass(frozen=True, slots=True)
class Combine:
    """One combination within a rank: ``into = base (+) slot``, or a copy where *base* is None."""

    slot: int
    base: int | None
    into: int


#: What one rank does, round by round; the combinations of a round do not touch each other's slots.
Rounds = tuple[tuple[Combine, ...], ...]


def canonical_tree(blocks: int) -> Tree:
    """Return the tree as nested pairs of block numbers.

    >>> canonical_tree(3), canonical_tree(5)
    (((0, 1), 2), (((0, 1), (2, 3)), 4))
    """
    level: list[Tree] = list(range(blocks))
    while len(level) > 1:
        pairs: list[Tree] = [(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) // 2 * 2 :]
    return level[0]


def maximal(first: int, count: int, blocks: int) -> tuple[Node, ...]:
    """Return the largest nodes that hold blocks of a range alone, in order: what a rank with these blocks can fold.

    >>> maximal(3, 3, 8), maximal(6, 1, 7), maximal(0, 3, 3)
    (((0, 3), (1, 2)), ((1, 3),), ((2, 0),))
    """
    nodes = {(0, b): INPUT for b in range(first, first + count)}
    return tuple(sorted(_fold(nodes, blocks, lambda *_: INPUT), key=lambda node: node[1] << node[0]))


def folded(
    at: Mapping[Node, int], blocks: int, scratch: Callable[[], int], keep: frozenset[int], into: int | None = None
) -> tuple[Rounds, dict[Node, int]]:
    """Return what a rank does to combine nodes as far as the tree allows, and the slots of what is left.

    Args:
        at: the slot of each node.
        blocks: how many blocks there are in all.
        scratch: gives a slot that nobody uses.
        keep: slots that may not be written.
        into: the slot of the last combination, where all nodes become one; by default any.
    """
    rounds: dict[int, list[Combine]] = {}
    total = (1 << max(blocks - 1, 0).bit_length()) >> 1  # blocks of the root's left half

    def join(level: int, left: int, right: int) -> int:
        if into is not None and 1 << level == total:
            target = into
        else:
            target = next((s for s in (left, right) if s not in keep), None) or scratch()
        rounds.setdefault(level, []).append(Combine(right, left, target))
        return target

    left = _fold(at, blocks, join)
    if into is not None and list(left.values()) != [into]:  # one node came whole, and nothing was combined
        rounds[0] = [Combine(next(iter(left.values())), None, into)]
        left = dict.fromkeys(left, into)
    return tuple(tuple(rounds[level]) for level in sorted(rounds)), left


def _fold(at: Mapping[Node, int], blocks: int, join: Callable[[int, int, int], int]) -> dict[Node, int]:
    """Combine neighbours level by level, and return the nodes that are left, with their slots."""
    waiting: dict[int, dict[int, int]] = {}
    for (level, j), slot in at.items():
        waiting.setdefault(level, {})[j] = slot
    left: dict[Node, int] = {}
    level = 0
    while waiting:
        here = waiting.pop(level, {})
        for j, slot in sorted(here.items()):
            if j % 2:
                if j - 1 not in here:
                    left[level, j] = slot
            elif (j + 1) << level >= blocks:
                if j == 0:
                    left[level, j] = slot  # the root
                else:
                    waiting.setdefault(level + 1, {})[j // 2] = slot
            elif j + 1 in here:
                waiting.setdefault(level + 1, {})[j // 2] = join(level, slot, here[j + 1])
            else:
                left[level, j] = slot
        level += 1
    return left


def local_steps(rounds: Sequence[Rounds], ranks: int, chunks: int, own: bool = False) -> tuple[Step, ...]:
    """Return the local work of all ranks as steps: the first round of every rank, then the second, ...

    Args:
        rounds: of each rank; one entry where all do the same.
        ranks: how many ranks there are.
        chunks: how many chunks a slot has.
        own: whether ranks work on the chunk of their own number alone.
    """
    alike = all(r == rounds[0] for r in rounds[1:])
    steps = []
    for i in range(max(map(len, rounds))):
        transfers = tuple(
            Transfer(rank, rank, rank if own else 0, 1 if own else chunks, c.slot, c.into, c.base)
            for rank, mine in enumerate(rounds[:1] if alike else rounds)
            if i < len(mine)
            for c in mine[i]
        )
        steps.append(Step(transfers, (ranks,), (int(own),)) if alike else Step(transfers))
    return tuple(steps)


__all__ = ["Combine", "Node", "Rounds", "Tree", "canonical_tree", "folded", "local_steps", "maximal"]
