"""Descriptions that come with opmux, one file each, every number with its source."""
