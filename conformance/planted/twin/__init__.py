"""The unfaulted twin: a plain and complete NumPy backend, written apart from the oracle and from every real backend."""
