"""A GPU for tests that is none: the backend's kernels, compiled for the host and carried out there.

The kernels' sources are the ones that a GPU gets; ``cuda_on_host.hpp`` gives CUDA C++ a meaning on the host, and
``intrinsics.hpp`` does what single instructions of a GPU do.
"""
