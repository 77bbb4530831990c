"""The backends of this tree, each a plugin like any vendor's: found by its entry point, seeing only ``opmux.plugin``."""
