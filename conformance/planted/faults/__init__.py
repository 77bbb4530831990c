"""Planted faults, one family a module: each of a kind that a real backend has had, with the cases that catch it."""
