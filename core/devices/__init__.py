"""Devices, queues, memory, and work that may fail late."""
