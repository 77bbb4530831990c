"""Compare ways to share one training step of a large transformer over 4,096 devices, without any of them.

Run ``python examples/parallelism.py``, or with ``--device h100-sxm`` for the simulated device of that description: its
timing model then says how long matrix products take, and its links connect the devices of a group.

Rates are of published descriptions where there are any:

- model: 175 billion parameters, 96 layers of 12,288 (T. Brown et al., "Language models are few-shot learners", 2020);
- device: 989 TFLOP/s in bfloat16 and 3.35 TB/s (NVIDIA H100 SXM data sheet), of which half is taken to be reached;
- eight devices on a switch: 400 GB/s, 936.25 ns (the validated description of eight H100 of ASTRA-sim);
- between groups of eight: 50 GB/s for each device (400 Gbit/s Ethernet or InfiniBand); 5 us is an assumption.
"""

from __future__ import annotations

import argparse

from opmux.backends.sim.cluster import compute_on, groups_between, rates_of
from opmux.backends.sim.description import preset, presets
from opmux.core.collectives.communicator import Link
from opmux.core.collectives.links import TwoLevel
from opmux.core.collectives.price import Rates
from opmux.opset.collectives.scale import LayerWork, Split, Transformer, transformer_step

MODEL = Transformer(layers=96, hidden=12288, heads=96, sequence=2048, batch=1536)
LINKS = TwoLevel(8, inner=Link(936.25e-9, 400e9), outer=Link(5e-6, 50e9))
RATES = Rates(memory=3.35e12)
SPLITS = (
    Split(512, 8, 1),
    Split(256, 8, 2),
    Split(128, 8, 4),
    Split(64, 8, 8),
    Split(32, 8, 16),
    Split(16, 8, 32),
    Split(128, 1, 32),
    Split(128, 2, 16),
    Split(64, 16, 4),
    Split(128, 32, 1),
)


def compute(work: LayerWork) -> float:
    """Return the seconds of a layer's products at half of the peak."""
    return work.flops / (0.5 * 989e12)


def main() -> None:
    """Print one row per split, the times in seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    linked = [name for name in presets() if preset(name).links is not None]
    parser.add_argument("--device", choices=linked, help="a simulated device, instead of the rates above")
    name = parser.parse_args().device
    seconds, links, rates = compute, LINKS, RATES
    if name is not None:
        device = preset(name)
        seconds, rates = compute_on(device, "bfloat16"), rates_of(device)
        links = groups_between(device, LINKS.size, LINKS.outer)
    print("data x tensor x pipeline  step   compute  tensor  bubble  messages  gradients (hidden)  GB of parameters")
    for split in SPLITS:
        step = transformer_step(MODEL, split, seconds, links, rates)
        shared = f"{split.data} x {split.tensor} x {split.pipeline}"
        print(
            f"{shared:24}  {step.seconds:5.2f}  {step.compute:7.2f}  {step.tensor:6.2f}  {step.bubble:6.2f}  "
            f"{step.pipeline:8.2f}  {step.data:9.2f} ({step.data_hidden:.2f})     {2 * step.parameters / 1e9:8.1f}"
        )


if __name__ == "__main__":
    main()
