"""Cases of a whole device: memory, queues, faults at the N-th request, threads."""
