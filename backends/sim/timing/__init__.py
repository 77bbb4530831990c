"""How long work takes on a described accelerator: pure functions, no device."""
