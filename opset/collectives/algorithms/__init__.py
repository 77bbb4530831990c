"""Algorithms of collectives: each builds a schedule, which communicators execute and the cost model prices."""

from .blocks import block_slots
from .request import Algorithm, Request
from .table import ALGORITHMS
from .tree import Tree, canonical_tree

__all__ = ["ALGORITHMS", "Algorithm", "Request", "Tree", "block_slots", "canonical_tree"]
