"""The conformance suite: it holds any backend to the contracts of the opset, and never asks for a backend's name."""
