"""Capture a function once per signature and replay it; read the graph that was captured.

Run ``python examples/compile_chain.py``.
"""

from __future__ import annotations

import opmux as ox


@ox.compile
def block(x: ox.Array, weight: ox.Array, bias: ox.Array, *, slope: float) -> ox.Array:
    """Apply a linear layer and a leaky rectifier; `slope` is a constant of the capture."""
    y = x @ weight + bias
    return ox.where(y > 0.0, y, y * slope)


def main() -> None:
    """Run the captured function beside the eager one."""
    generator = ox.Generator(1)
    x, weight = generator.normal((4, 3)), generator.normal((3, 2))
    bias = ox.zeros(2)

    captured = block(x, weight, bias, slope=0.1)
    y = x @ weight + bias
    eager = ox.where(y > 0.0, y, y * 0.1)
    print("agrees with eager:", bool(ox.all(ox.abs(captured - eager) < 1e-5)))
    print(block.graph(x, weight, bias, slope=0.1))

    # Another shape is another signature, captured on its first call.
    print("shape of a larger batch:", block(generator.normal((128, 3)), weight, bias, slope=0.1).shape)

    # A function that asks for a value cannot be captured; it runs as it is, and says so.
    guarded = ox.compile(lambda x: x / ox.sum(x) if ox.sum(x) != 0.0 else x)
    print("normalised:", guarded(ox.asarray([1.0, 3.0])).tolist())
    print("note:", guarded.notes()[0])


if __name__ == "__main__":
    main()
