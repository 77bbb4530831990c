"""Matrix products: in the canonical order, on tensor cores, by warpgroups, and by cuBLAS."""
