"""Cases of region compilers: graphs as data, and what a region must give."""
