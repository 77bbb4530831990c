"""Many devices as one: meshes, schedules, communicators, and the way of a collective call."""
