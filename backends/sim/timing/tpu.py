"""TPU v1's published applications on its description: what is taken as input, and what comes out.

Source of every number without another note: N. Jouppi et al., "In-Datacenter Performance Analysis of a Tensor
Processing Unit", ISCA 2017, [J]. Its applications are not public, so layers are known only in sum. One rule for all:

- Weights lie in memory in whole tiles of the array, each filled to the share of useful cells ([J] table 3, row 2 over
  row 1), in all layers of an application alike.
- A tile takes the longest of: its load from weight memory, the shift into the array (a cycle per row), and a cycle per
  row of data that goes through it: as often as each weight is used in a batch ([J] table 1, operations per byte).
- All else that [J] reports as waiting for results (table 3, row 7: RAW stalls) comes on top, as that share of the time.

The other rows of table 3 (active, stalled, shifting and idle cycles, input stalls) are not inputs, nor are the
operations per second of row 9, with which the result is compared. [J] says that row 9 was measured on production code
and the other rows by counters, "so they are not perfectly consistent".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ....plugin import ArgumentError
from ..description import preset
from ..hardware import Description, MatrixUnit
from .memory import off_chip_bandwidth


@dataclass(frozen=True, slots=True)
class Part:
    """Layers of an application that reuse their weights alike.

    Attributes:
        weights: bytes, one each.
        uses: how often each weight is used in one batch.
        useful: share of a tile's cells that hold weights.
    """

    weights: float
    uses: float
    useful: float


@dataclass(frozen=True, slots=True)
class Application:
    """One application of [J] and its published figures.

    Attributes:
        name: as in [J].
        parts: what it computes.
        batch: inferences done together.
        waiting: share of the time that waits for results (table 3, row 7).
        measured: operations per second (table 3, row 9), to compare with.
        inputs: what was taken from where, in words.
    """

    name: str
    parts: tuple[Part, ...]
    batch: int
    waiting: float
    measured: float
    inputs: str

    @property
    def operations(self) -> float:
        """Of one batch; a multiply-accumulate counts two."""
        return sum(2.0 * part.weights * part.uses for part in self.parts)


_TABLES: Final = "[J], table 1: weights, operations per weight byte; table 3: useful cells, RAW stalls"


def _plain(
    name: str, weights: float, uses: float, batch: int, useful: float, waiting: float, tops: float
) -> Application:
    return Application(name, (Part(weights, uses, useful),), batch, waiting, tops * 1e12, _TABLES)


# Inception V2's convolutions: 13.6 million parameters (S. Ioffe and C. Szegedy, "Batch Normalization", 2015, section
# 4.2), and 1.3 times (its appendix) the 1.5 billion multiply-adds of GoogLeNet (C. Szegedy et al., "Going Deeper with
# Convolutions", 2015, section 1).
_V2_WEIGHTS: Final = 13.6e6
_V2_MACS: Final = 1.3 * 1.5e9
_CNN1_BATCH: Final = 32
_CNN1_USEFUL: Final = 0.225 / 0.462


def _cnn1(name: str, useful_of_fully_connected: float, inputs: str) -> Application:
    """Return CNN1 from Inception V2's published cost; its other weights are fully connected, one use per inference."""
    convolutions = Part(_V2_WEIGHTS, _V2_MACS * _CNN1_BATCH / _V2_WEIGHTS, _CNN1_USEFUL)
    fully_connected = Part(100e6 - _V2_WEIGHTS, _CNN1_BATCH, useful_of_fully_connected)
    return Application(name, (convolutions, fully_connected), _CNN1_BATCH, 0.228, 14.1e12, inputs)


_CNN1_INPUTS: Final = (
    "[J], table 1: weights, batch; table 3: useful cells, RAW stalls; section 3: it derives from Inception V2, whose "
    "published parameters and multiply-adds stand for its convolutions; section 4: fully connected layers at 32"
)

#: In the order of [J].
APPLICATIONS: Final = (
    _plain("MLP0", 20e6, 200, 200, 0.125 / 0.127, 0.033, 12.3),
    _plain("MLP1", 5e6, 168, 168, 0.094 / 0.106, 0.084, 9.7),
    _plain("LSTM0", 52e6, 64, 64, 1.0, 0.146, 3.7),
    _plain("LSTM1", 34e6, 96, 96, 0.063 / 0.105, 0.106, 2.8),
    _plain("CNN0", 8e6, 2888, 8, 1.0, 0.035, 86.0),
    _cnn1("CNN1", _CNN1_USEFUL, _CNN1_INPUTS),
)
#: CNN1 under other readings, which show how much hangs on them.
OTHER_READINGS: Final = (
    _cnn1("CNN1, its fully connected tiles full", 1.0, f"{_CNN1_INPUTS}; unused cells only in convolutions"),
    _plain("CNN1, table 1 as it stands", 100e6, 1750, 32, _CNN1_USEFUL, 0.228, 14.1),
)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one application.

    Attributes:
        application: which.
        seconds: of one batch.
        operations: per second.
        roofline: operations per second of the roofline alone: the lower of the peak and bandwidth times intensity.
    """

    application: Application
    seconds: float
    operations: float
    roofline: float

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.operations / self.application.measured - 1

    @property
    def roofline_error(self) -> float:
        """The same of the roofline alone."""
        return self.roofline / self.application.measured - 1


def predict(application: Application, device: Description | None = None) -> Prediction:
    """Return what the model says of an application.

    Args:
        application: which.
        device: a changed TPU, on which the waiting takes as many cycles as on TPU v1; None for TPU v1 itself.

    Raises:
        ArgumentError: for a device without a matrix unit.
    """
    tpu = preset("tpu-v1") if device is None else device
    stalled = _busy_cycles(application, preset("tpu-v1")) * application.waiting / (1 - application.waiting)
    seconds = (_busy_cycles(application, tpu) + stalled) / tpu.clock
    intensity = application.operations / sum(part.weights for part in application.parts)
    roofline = min(tpu.peak_operations("int8"), intensity * off_chip_bandwidth(tpu))
    return Prediction(application, seconds, application.operations / seconds, roofline)


def tile_seconds(tpu: Description) -> float:
    """Return the time that one tile of weights takes from weight memory."""
    return _unit(tpu).rows * _unit(tpu).columns / off_chip_bandwidth(tpu)


def matrix_seconds(rows: int, columns: int, tpu: Description) -> float:
    """Return the time of a matrix of weights bound by its load, in whole tiles.

    >>> round(matrix_seconds(600, 600, preset("tpu-v1")) * 1e6, 1)  # microseconds; [J] section 7 says 18
    18.3
    """
    unit = _unit(tpu)
    return -(-rows // unit.rows) * -(-columns // unit.columns) * tile_seconds(tpu)


def scaled(*, bandwidth: float = 1.0, clock: float = 1.0, array: int = 256) -> Description:
    """Return TPU v1 with another weight bandwidth, clock, or array."""
    tpu = preset("tpu-v1")
    return replace(
        tpu,
        clock=tpu.clock * clock,
        off_chip=replace(tpu.off_chip, bandwidth=tpu.off_chip.bandwidth * bandwidth),
        dma=replace(tpu.dma, bandwidth=tpu.dma.bandwidth * bandwidth),
        matrix=replace(_unit(tpu), rows=array, columns=array),
    )


def speedup(application: Application, device: Description) -> float:
    """Return how many times faster an application is on a changed TPU."""
    return predict(application, device).operations / predict(application).operations


def _unit(tpu: Description) -> MatrixUnit:
    if tpu.matrix is None:
        raise ArgumentError(f"{tpu.name} has no matrix unit; a TPU is described with one", device=tpu.name)
    return tpu.matrix


def _busy_cycles(application: Application, tpu: Description) -> float:
    unit = _unit(tpu)
    load = tile_seconds(tpu) * tpu.clock
    cells = unit.rows * unit.columns
    return sum(
        part.weights / (part.useful * cells) * max(load, float(unit.rows), part.uses) for part in application.parts
    )


def mean_error(predictions: tuple[Prediction, ...]) -> float:
    """Return the mean of the errors' magnitudes."""
    return sum(abs(p.error) for p in predictions) / len(predictions)
