"""Running cases: selections, worker processes, one case at a time."""
