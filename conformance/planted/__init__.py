"""Backends with one planted fault each, of the kinds that real ones have had, and the twin without a fault."""
