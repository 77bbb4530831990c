"""Cases drawn at random from a seed: single calls, programs of many ops, histories of arrays, devices and plugins."""
