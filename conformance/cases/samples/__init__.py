"""Samples: the calls that an op is tried with, as data."""
