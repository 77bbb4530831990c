"""The files that `opmux new-backend` writes; a percent sign begins a placeholder."""
