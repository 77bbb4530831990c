"""Take arrays in from NumPy and PyTorch without a copy, and give them back.

Run ``python examples/from_numpy_and_torch.py``; PyTorch is optional.
"""

from __future__ import annotations

import importlib.util

import numpy as np

import opmux as ox


def from_numpy() -> None:
    """Share memory with NumPy in both directions."""
    readings = np.arange(12, dtype=np.float32).reshape(3, 4)
    x = ox.asarray(readings[:, ::2])  # a strided view, still no copy
    print("strides in elements:", x.strides)

    means = ox.mean(x, axis=1)
    out = np.asarray(means)  # a read-only view
    print("row means:", out.tolist(), "writeable:", out.flags.writeable)

    # A zero-copy import is memory that you promise not to write. Where you will, take a snapshot.
    snapshot = ox.asarray(readings, copy=True)
    readings[0, 0] = 100.0
    print("snapshot is untouched:", float(snapshot[0, 0]))


def from_torch() -> None:
    """Go through DLPack, which both sides speak."""
    import torch

    t = torch.arange(6.0).reshape(2, 3)
    x = ox.from_dlpack(t)
    y = ox.softmax(x, axis=-1)
    print("from torch:", y.shape, y.dtype)
    back = torch.from_dlpack(y)
    print("back to torch agrees:", bool(torch.allclose(back, torch.softmax(t, -1))))


def main() -> None:
    """Run what can be run here."""
    from_numpy()
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed; that part is left out")
    else:
        from_torch()


if __name__ == "__main__":
    main()
