"""Arrays as values: views, indexing, interchange with the host program."""
