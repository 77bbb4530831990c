"""Which algorithms there are for each collective, and where they come from.

Sources: [T] R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH",
IJHPCA 19(1), 2005. [R] R. Rabenseifner, "Optimization of Collective Reduction Operations", ICCS 2004. [P] P. Patarasuk,
X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 69(2), 2009. [B] J. Bruck et al.,
"Efficient algorithms for all-to-all communications in multiport message-passing systems", IEEE TPDS 8(11), 1997. [H] D.
Hensgen, R. Finkel, U. Manber, "Two algorithms for barrier synchronization", IJPP 17(1), 1988.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ....core.kernel import CANONICAL_ORDER
from . import movement, reductions
from .request import Algorithm

_ALL: Final = (
    Algorithm(
        "ring", "all_reduce", "ring",
        "Each of n chunks goes round a ring and is combined at every rank, then goes round once more: 2(n - 1) "
        "messages of a chunk, the least data that can be sent [P]. The order of combination is a chain that begins "
        "at another rank for every chunk.",
        reductions.ring_all_reduce,
    ),
    Algorithm(
        "doubling", "all_reduce", "doubling",
        "Recursive doubling [T]: partners at distance 1, 2, 4, ... exchange all they have, in the fewest steps. "
        "Neighbours come first, so for a power of two the order is the canonical tree; else the extra ranks hand "
        "theirs to a neighbour before and get the result after, which is canonical for some numbers of ranks.",
        reductions.doubling_all_reduce,
    ),
    Algorithm(
        "rabenseifner", "all_reduce", "rabenseifner",
        "Partners exchange halves of what they still hold, then everything in reverse [R]: as few steps as doubling "
        "twice, as little data as a ring. Here neighbours come first, with half of the data, so the order is that "
        "of doubling.",
        reductions.rabenseifner,
    ),
    Algorithm(
        "tree", "all_reduce", CANONICAL_ORDER,
        "A binomial tree [T] to rank 0, which is the canonical tree for any number of ranks, and a broadcast back.",
        reductions.tree_all_reduce,
    ),
    Algorithm(
        "direct", "all_reduce", CANONICAL_ORDER,
        "Every rank sends chunk j to rank j, which combines all contributions along the canonical tree and sends "
        "the result to all: the data of a ring in two steps, of n - 1 messages each. The only one for blocks that "
        "are spread unevenly.",
        reductions.direct_all_reduce,
    ),
    Algorithm(
        "one-shot", "all_reduce", CANONICAL_ORDER,
        "Every rank sends all it has to every other and combines all contributions by itself, along the canonical "
        "tree: the most data, in one step. Over processes a small contribution travels with the header, which goes to "
        "every rank anyway.",
        reductions.one_shot_all_reduce,
    ),
    Algorithm(
        "hierarchical", "all_reduce", "hierarchical",
        "Two levels, as groups=(number, size): a ring leaves each rank of a group its chunks reduced over the "
        "group, ranks of the same place reduce those across groups, by exchanges of halves or a ring, and a ring in "
        "the group gathers. Only a share of 1/size of the data crosses between groups per rank.",
        reductions.hierarchical,
    ),
    Algorithm(
        "ring", "reduce_scatter", "ring", "The first half of the ring all_reduce [P].", reductions.ring_reduce_scatter
    ),
    Algorithm(
        "halving", "reduce_scatter", "halving",
        "Recursive halving [T]: partners exchange halves of what they still hold, ranks far apart first, so that "
        "every rank is left with its own chunk. Only for powers of two.",
        reductions.halving_reduce_scatter,
    ),
    Algorithm(
        "direct", "reduce_scatter", CANONICAL_ORDER,
        "Every rank sends chunk j to rank j, which combines all contributions along the canonical tree.",
        reductions.direct_reduce_scatter,
    ),
    Algorithm(
        "tree", "reduce", CANONICAL_ORDER,
        "A binomial tree [T] to the root: the canonical tree, in which the root holds every value that it is part "
        "of.",
        reductions.tree_reduce,
    ),
    Algorithm("ring", "all_gather", CANONICAL_ORDER, "Chunks go round a ring [T].", movement.ring_all_gather),
    Algorithm(
        "doubling", "all_gather", CANONICAL_ORDER,
        "Recursive doubling [T]: partners at distance 1, 2, 4, ... exchange all they have. Only for powers of two.",
        movement.doubling_all_gather,
    ),
    Algorithm(
        "bruck", "all_gather", CANONICAL_ORDER,
        "The same number of steps for any number of ranks [B]: each rank sends the chunks from its own on to the "
        "rank at distance 1, 2, 4, ... before it. Chunks lie in their places from the start, so a row that wraps is "
        "two messages.",
        movement.bruck_all_gather,
    ),
    Algorithm(
        "direct", "all_gather", CANONICAL_ORDER,
        "Every rank sends its chunk to every other.",
        movement.direct_all_gather,
    ),
    Algorithm(
        "rotation", "all_to_all", CANONICAL_ORDER,
        "Pairwise exchange [T]: in step k each rank sends to the rank k further on, so no rank gets two messages at "
        "once.",
        movement.rotation_all_to_all,
    ),
    Algorithm(
        "direct", "all_to_all", CANONICAL_ORDER,
        "Every rank sends to every other at once; the network sorts it out.",
        movement.direct_all_to_all,
    ),
    Algorithm("tree", "broadcast", CANONICAL_ORDER, "A binomial tree from the root [T].", movement.tree_broadcast),
    Algorithm(
        "scatter", "broadcast", CANONICAL_ORDER,
        "A scatter down a binomial tree, then a ring that gathers [T]: twice the data at most, whatever the number "
        "of ranks.",
        movement.scatter_broadcast,
    ),
    Algorithm("flat", "broadcast", CANONICAL_ORDER, "The root sends to every other rank.", movement.flat_broadcast),
    Algorithm(
        "direct", "permute", CANONICAL_ORDER,
        "One message for every pair. Send and receive are a permute of one pair.",
        movement.direct_permute,
    ),
    Algorithm(
        "dissemination", "barrier", CANONICAL_ORDER,
        "Each rank sends an empty message 1, 2, 4, ... ranks further on [H]; then all have heard of all.",
        movement.dissemination_barrier,
    ),
    Algorithm(
        "tree", "barrier", CANONICAL_ORDER,
        "Empty messages up a binomial tree and down again: half of dissemination's messages, in twice the steps.",
        movement.tree_barrier,
    ),
)  # fmt: skip

#: The algorithms of each collective, by its name.
ALGORITHMS: Final[Mapping[str, tuple[Algorithm, ...]]] = MappingProxyType(
    {name: tuple(a for a in _ALL if a.collective == name) for name in dict.fromkeys(a.collective for a in _ALL)}
)
