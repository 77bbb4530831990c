"""Device descriptions: presets, and what a bad file is told."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from opmux.backends.sim import description
from opmux.backends.sim.description import load, loads, preset, presets
from opmux.backends.sim.kernels import kernels
from opmux.backends.sim.parse import PROFILE_DTYPES
from opmux.opset.profiles import PROFILES
from opmux.plugin import ArgumentError

GOOD = """
name = "small"
clock_hz = 1e9
[matrix]
rows = 8
columns = 4
dataflow = "ws"
precisions.int8 = { accumulate = "int32" }
[vector]
lanes = 8
precisions = { int8 = 1.0, int32 = 0.5, uint32 = 0.5, bool = 1.0 }
[on_chip]
bytes = 65536
bandwidth = 1e10
[off_chip]
bytes = 2e9
bandwidth = 1e9
[dma]
engines = 2
bandwidth = 1e9
host_bandwidth = 1e9
[supports]
dtypes = ["int8", "int32", "bool", "uint32", "int64"]
profiles = ["core-int8"]
"""


def fault(text: str) -> str:
    with pytest.raises(ArgumentError) as caught:
        loads(text, "device.toml")
    assert "device.toml" in str(caught.value)
    return str(caught.value)


def test_a_description_is_read_with_its_defaults() -> None:
    made = loads(GOOD)
    assert (made.clock, made.launch, made.off_chip.bytes) == (1e9, 0.0, 2_000_000_000)
    assert made.matrix is not None
    assert (made.matrix.rows, made.matrix.columns, made.matrix.count) == (8, 4, 1)
    assert made.matrix.precisions["int8"].accumulate == "int32"
    assert made.links is None
    assert made.power is None


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_travels_and_can_be_a_key(name: str) -> None:
    made = preset(name)
    assert pickle.loads(pickle.dumps(made)) == made
    assert {made: 1}[preset(name)] == 1


def test_peak_rates_are_those_published() -> None:
    assert preset("tpu-v1").peak_operations("int8") == pytest.approx(92e12, rel=0.005)
    h100 = preset("h100-sxm")
    published = {"bfloat16": 989.4e12, "int8": 1978.9e12, "float64": 66.9e12, "float32": 66.9e12}
    for dtype, rate in published.items():
        assert h100.peak_operations(dtype) == pytest.approx(rate, rel=0.005), dtype
    assert preset("edge-npu").peak_operations("int8") == 256e9


def test_every_number_of_a_preset_has_a_source_or_says_that_it_is_assumed() -> None:
    for name in presets():
        text = Path(description.__file__).with_name("presets").joinpath(f"{name}.toml").read_text(encoding="utf-8")
        for table in text.split("\n[")[1:]:
            heading = table.splitlines()[0]
            said = "#" in table or heading.startswith("supports")
            assert said, f"{name}: [{heading} has numbers and no word on them"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rows = 8", "rows = 0", ("matrix.rows", "0", "from 1 to 65536")),
        ("rows = 8", "rows = -8", ("matrix.rows", "-8", "from 1 to 65536")),
        ("rows = 8", "rows = 8.5", ("matrix.rows", "8.5", "whole number")),
        ("rows = 8", "rows = true", ("matrix.rows", "True", "whole number")),
        ("rows = 8", "rows = '8'", ("matrix.rows", "'8'", "whole number")),
        ("rows = 8", "rows = nan", ("matrix.rows", "nan", "whole number")),
        ("rows = 8", "rows = 1" + "0" * 4000, ("matrix.rows", "bits", "from 1 to 65536")),
        ("rows = 8", "", ("matrix.rows", "missing", "from 1 to 65536")),
        ("rows = 8", "rows = 8\ncolums = 4", ("matrix.colums", "not known", "did you mean 'columns'")),
        ("clock_hz = 1e9", "clock_hz = 1e99", ("clock_hz", "1e+99", "from 1000 to 1e+12")),
        ("clock_hz = 1e9", "clock_hz = inf", ("clock_hz", "inf", "from 1000 to 1e+12")),
        ("clock_hz = 1e9", "clock_hz = nan", ("clock_hz", "nan", "from 1000 to 1e+12")),
        ('dataflow = "ws"', 'dataflow = "wz"', ("matrix.dataflow", "'wz'", "os, ws, is")),
        ("precisions.int8", "precisions.int9", ("matrix.precisions.int9", "not known", "did you mean 'int8'")),
        ('accumulate = "int32"', 'accumulate = "i32"', ("matrix.precisions.int8.accumulate", "'i32'", "int32")),
        ("bandwidth = 1e10", "bandwidth = -1", ("on_chip.bandwidth", "-1", "from 1000 to 1e+18")),
        ("[dma]\nengines = 2", "[dma]\nengines = []", ("dma.engines", "[]", "whole number")),
        ('"core-int8"', '"core-int9"', ("supports.profiles", "'core-int9'", "did you mean 'core-int8'")),
        ('"core-int8"', '"core-f32"', ("supports.profiles", "core-f32", "float32", "vector.precisions")),
        ('"uint32", "int64"', '"uint32"', ("supports.profiles", "int64", "supports.dtypes")),
        ('"int8", "int32"', '"int32"', ("vector.precisions", "int8", "supports.dtypes")),
        ('dtypes = ["int8",', 'dtypes = ["int8", "int8",', ("supports.dtypes", "'int8' twice")),
        ("[supports]", "[price]\n[supports]", ("price.per_hour", "purchase")),
        ("[supports]", "[power]\nidle_watts = 1\nmac_joules.int32 = 1e-12\n[supports]", ("power.mac_joules", "int8")),
        ("[supports]", "[links]\ntopology = 'star'\n[supports]", ("links.topology", "'star'", "fully_connected")),
    ],
)
def test_a_fault_names_the_key_what_was_given_and_what_is_allowed(old: str, new: str, words: tuple[str, ...]) -> None:
    assert old in GOOD
    message = fault(GOOD.replace(old, new, 1))
    for word in words:
        assert word in message


def test_every_fault_of_a_file_is_told_at_once() -> None:
    text = GOOD.replace("rows = 8", "rows = 0").replace("lanes = 8", "lanes = -1").replace("engines = 2", "engins = 2")
    message = fault(text)
    assert all(key in message for key in ("matrix.rows", "vector.lanes", "dma.engines", "dma.engins"))


def test_a_missing_table_is_told_once() -> None:
    message = fault(GOOD.replace("[on_chip]\nbytes = 65536\nbandwidth = 1e10\n", ""))
    assert "on_chip is missing" in message
    assert "on_chip.bytes" not in message


def test_the_error_carries_the_key_and_all_faults() -> None:
    with pytest.raises(ArgumentError) as caught:
        loads(GOOD.replace("rows = 8", "rows = 0"))
    assert caught.value.key == "matrix.rows"
    assert set(caught.value.faults) == {"matrix.rows"}


def without(table: str, text: str = GOOD) -> str:
    start = text.index(f"[{table}]")
    return text[:start] + text[text.index("\n[", start) + 1 :]


def test_a_device_without_a_matrix_unit_multiplies_on_its_lanes() -> None:
    made = loads(without("matrix"))
    assert made.matrix is None
    assert made.peak_operations("int8") == 2 * 8 * 1e9


def test_a_device_without_a_vector_unit_claims_no_profile() -> None:
    text = without("vector")
    assert "vector.precisions" in fault(text)
    assert loads(text.replace('profiles = ["core-int8"]', "")).vector is None


@pytest.mark.parametrize("words", ["uint32", "uint8"])
def test_a_profile_needs_lanes_for_random_words(words: str) -> None:
    bare = GOOD.replace("uint32 = 0.5, ", "")
    assert "needs uint32 in vector.precisions for random words" in fault(bare)
    made = loads(GOOD.replace("uint32 = 0.5", f"{words} = 0.5").replace('"uint32"', '"uint32", "uint8"'))
    assert "random_bits" in {kernel.op for kernel in kernels(made)}


def test_a_device_without_any_unit_is_none() -> None:
    message = fault(without("vector", without("matrix")).replace('profiles = ["core-int8"]', ""))
    assert "at least one" in message


@pytest.mark.parametrize("text", ["name = ", "[", "\x00", "a = 1\na = 2", "a = 1" + "0" * 5000, "a = " + "[" * 5000])
def test_what_is_not_toml_is_told_so(text: str) -> None:
    assert "is not TOML" in fault(text)


def test_files_that_cannot_be_read_or_are_none(tmp_path: Path) -> None:
    binary, large = tmp_path / "binary", tmp_path / "large"
    binary.write_bytes(b"\xff\xfe")
    large.write_text("#" * (300 << 10))
    for path, word in ((tmp_path, "cannot be read"), (tmp_path / "absent", "cannot be read"), (binary, "not TOML"),
                       (large, "larger"), ("nul\x00", "cannot be read")):  # fmt: skip
        with pytest.raises(ArgumentError, match=word):
            load(path)


def test_a_file_is_read_as_its_text(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(GOOD)
    assert load(path).matrix == loads(GOOD).matrix
    assert load(path).where == str(path)


def test_an_unknown_preset_is_answered_with_those_there_are() -> None:
    with pytest.raises(ArgumentError, match=r"tpu-v9.*edge-npu, h100-sxm, tpu-v1"):
        preset("tpu-v9")


def test_profiles_are_those_of_the_opset() -> None:
    core = {name: tuple(t.name for t in p.dtypes) for name, p in PROFILES.items() if name.startswith("core-")}
    assert core == dict(PROFILE_DTYPES)
