"""Benchmarks of opmux beside its peers: ``python -m benchmarks NAME --json FILE``, from the checkout's root."""
