"""An accelerator that does not exist, described by a file: own memory, a matrix unit, a virtual clock."""
