"""Backends as plugins: found without importing, probed apart, validated whole, quarantined when broken."""
