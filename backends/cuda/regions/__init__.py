"""Regions of graphs as one kernel each."""
