"""A GPU as opmux sees it: memory, streams, launches, and the libraries that it comes with."""
