"""The intermediate form: capture, regions, compiled functions."""
