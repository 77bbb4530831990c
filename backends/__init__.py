"""The backends of this tree, each a plugin like any vendor's: found by entry point, seeing only ``opmux.plugin``."""
