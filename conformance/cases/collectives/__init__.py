"""Cases of the collectives: what is tried on the ranks of a mesh."""
