"""TPU v1's published table and sensitivities, from its description."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opmux.backends.sim.description import preset
from opmux.backends.sim.timing import tpu
from opmux.plugin import ArgumentError

#: Operations per second as published: Jouppi et al., ISCA 2017, table 3, row 9.
MEASURED = {"MLP0": 12.3e12, "MLP1": 9.7e12, "LSTM0": 3.7e12, "LSTM1": 2.8e12, "CNN0": 86.0e12, "CNN1": 14.1e12}
MEMORY_BOUND = ("MLP0", "MLP1", "LSTM0", "LSTM1")


def errors() -> dict[str, float]:
    found = {a.name: tpu.predict(a).operations for a in tpu.APPLICATIONS}
    return {name: abs(found[name] / measured - 1) for name, measured in MEASURED.items()}


def speedups(**change: float) -> dict[str, float]:
    changed = tpu.scaled(**change)
    return {a.name: tpu.speedup(a, changed) for a in tpu.APPLICATIONS}


def test_the_published_table_is_met_within_ten_percent_in_the_mean() -> None:
    assert sum(errors().values()) / 6 <= 0.10


def test_it_is_met_without_the_row_whose_reading_is_open() -> None:
    rest = {name: error for name, error in errors().items() if name != "CNN1"}
    assert sum(rest.values()) / 5 <= 0.08
    assert max(rest.values()) < 0.20


def test_every_row_says_what_was_taken_as_input_and_the_answer_is_none_of_it() -> None:
    for application in tpu.APPLICATIONS:
        assert "table" in application.inputs
        faster = replace(application, measured=2 * application.measured)
        assert tpu.predict(faster).operations == tpu.predict(application).operations


def test_lstm1s_matrix_takes_longer_on_a_larger_array() -> None:
    assert tpu.matrix_seconds(600, 600, tpu.scaled()) == pytest.approx(18e-6, rel=0.03)
    assert tpu.matrix_seconds(600, 600, tpu.scaled(array=512)) == pytest.approx(32e-6, rel=0.03)


def test_four_times_the_bandwidth_helps_what_is_bound_by_memory_threefold() -> None:
    faster = speedups(bandwidth=4.0)
    assert sum(faster[name] for name in MEMORY_BOUND) / 4 == pytest.approx(3, rel=0.10)
    assert faster["CNN0"] == pytest.approx(1, rel=0.01)


def test_four_times_the_clock_helps_convolutions_twofold_and_the_others_hardly() -> None:
    faster = speedups(clock=4.0)
    assert max(faster[name] for name in MEMORY_BOUND) < 1.15
    assert (faster["CNN0"] + faster["CNN1"]) / 2 == pytest.approx(2, rel=0.15)


def test_waiting_is_its_published_share_of_the_time() -> None:
    for application in tpu.APPLICATIONS:
        busy = tpu.predict(replace(application, waiting=0.0)).seconds
        assert 1 - busy / tpu.predict(application).seconds == pytest.approx(application.waiting)


def test_a_tile_takes_at_least_its_shift_however_fast_the_memory() -> None:
    # 20 MB of weights in tiles of 65,536, a share of 12.5 / 12.7 of them useful, 256 cycles each at 700 MHz.
    busy = replace(tpu.APPLICATIONS[0], waiting=0.0)
    seconds = tpu.predict(busy, tpu.scaled(bandwidth=1000.0)).seconds
    assert seconds == pytest.approx(20e6 / (65536 * 12.5 / 12.7) * 256 / 700e6)


def test_a_larger_array_helps_nothing() -> None:
    faster = speedups(array=512)
    assert max(faster[name] for name in MEMORY_BOUND) <= 1.0


def test_a_device_without_a_matrix_unit_is_no_tpu() -> None:
    lame = replace(preset("tpu-v1"), matrix=None)
    with pytest.raises(ArgumentError, match="no matrix unit"):
        tpu.predict(tpu.APPLICATIONS[0], lame)
