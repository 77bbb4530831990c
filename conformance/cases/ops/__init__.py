"""Cases of one op on one dtype: its contract, layouts, claims, determinism, and the places where kernels break."""
