"""Collectives: ops over the ranks of a mesh, declared once, and the algorithms that they decompose into."""
