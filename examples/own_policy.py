"""Say what calls may and must do, and see what the dispatcher makes of it.

Run ``python examples/own_policy.py``.
"""

from __future__ import annotations

import opmux as ox


def main() -> None:
    """Print which kernel serves a call under several policies, and why the others do not."""
    generator = ox.Generator(0)
    x = generator.uniform((256, 256))
    print("without a policy:", ox.explain("exp", x).chosen)

    # Only one backend, for everything in the block; threads and tasks keep their own policy.
    with ox.policy(backends="numpy"):
        print("numpy only:      ", ox.explain("exp", x).chosen)
        first = ox.exp(x)

    # One op pinned, the rest free.
    with ox.policy(pins={"exp": "llvm"}):
        print("exp pinned:      ", ox.explain("exp", x).chosen)
        second = ox.exp(x)

    # Both meet exp's contract; they need not agree in every bit.
    print("they differ by at most", float(ox.max(ox.abs(first - second))))

    # A demand that nobody has proved to meet is refused, with a reason for each candidate.
    with ox.policy(claims="shown"):
        try:
            ox.exp(x)
        except ox.UnsupportedError as error:
            for candidate, rejection in error.reasons.items():
                print(f"refused: {candidate}: {rejection.reason}")


if __name__ == "__main__":
    main()
