"""Performance beside conformance: times and their noise, shares of a measured roofline, flags that never fail."""
