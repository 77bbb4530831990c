"""From CUDA C++ to code for a kind of GPU, and what that code needs."""
