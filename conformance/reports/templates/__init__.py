"""The HTML page: its parts, its style and its script."""
