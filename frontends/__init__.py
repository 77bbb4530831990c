"""Frameworks that call the opset; none is here yet."""
