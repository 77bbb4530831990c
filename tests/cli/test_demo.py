"""The demo, at a scale where it says nothing about accuracy; the full one is marked slow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import opmux as ox
from opmux.cli import networks
from opmux.cli.demo import MIX, Digits, load_digits, run_all, usable_backends
from opmux.cli.demo_chart import draw
from opmux.cli.demo_report import describe, missed_targets, show
from opmux.cli.networks import Convolutional, Dense, Recipe

from .conftest import Command


@pytest.fixture(scope="module")
def digits() -> Digits:
    pytest.importorskip("sklearn", reason="the demo's data comes with scikit-learn, an extra")
    return load_digits()


def few(digits: Digits) -> Digits:
    return Digits(digits.train_x[:64], digits.train_labels[:64], digits.test_x[:32], digits.test_labels[:32])


def test_the_held_out_quarter_is_fixed(digits: Digits) -> None:
    assert digits.train_x.shape == (1348, 1, 8, 8)
    assert digits.test_x.shape == (449, 1, 8, 8)
    assert digits.test_labels[:8].tolist() == [6, 2, 1, 7, 1, 4, 5, 2]


def test_every_run_is_described_shown_and_drawn(
    digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the chart needs matplotlib, an extra")
    recipes = (Recipe(Dense(8), 0.0, 1, batch=32), Recipe(Convolutional(2, 4), 0.0, 1, batch=32))
    runs = run_all(few(digits), recipes, usable_backends(["numpy"]))
    report = json.loads(json.dumps(describe(digits, runs)))
    show(runs)
    draw(runs, tmp_path / "demo.png")
    assert [(r["network"], r["backend"]) for r in report["runs"]] == [
        ("dense", "numpy"), ("dense", MIX), ("convolutional", "numpy"), ("convolutional", MIX),
    ]  # fmt: skip
    assert len({d["explanation"]["op"] for d in report["dearest"]}) == 2
    assert "Who ran what for dispatcher, convolutional network" in capsys.readouterr().out
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_the_time_is_broken_down_to_kernels(digits: Digits) -> None:
    (run,) = run_all(few(digits), (Recipe(Convolutional(2, 4), 0.0, 1, batch=32),), [])
    assert {op for s in run.shares if s.op == "matmul" for op in s.inside} == {"conv", "linear"}
    assert "conv" not in {s.op for s in run.shares}
    assert 0 < sum(s.seconds for s in run.shares) <= run.seconds
    assert not [s for s in run.shares if s.kernel == "decomposition"]


def test_a_missed_target_ends_in_exit_status_1(
    digits: Digits, tmp_path: Path, opmux: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "RECIPES", (Recipe(Dense(4), 1.01, 1, batch=32),))
    monkeypatch.setattr("opmux.cli.demo.load_digits", lambda: few(digits))
    status, out, err = opmux("demo", "--backend", "numpy", "--output", str(tmp_path), "--json")
    assert status == 1
    assert "2 of 2 trainings missed the accuracy target: dense by numpy reached" in err
    assert json.loads(out) == json.loads((tmp_path / "demo.json").read_text())


def test_met_targets_say_nothing() -> None:
    assert missed_targets(()) == ""


def test_the_gradients_are_the_losses_slopes() -> None:
    # Against central differences in float64: conv with stride, dilation and input dilation takes part.
    network = Convolutional(2, 3)
    x = ox.astype(ox.Generator(1).normal((4, 1, 8, 8)), ox.float64)
    p = tuple(ox.astype(a, ox.float64) for a in network.parameters(ox, 2))
    wanted = ox.astype(networks.wanted_probabilities(ox, ox.asarray([1, 2, 3, 4]), 0.1), ox.float64)

    def loss(given: networks.Parameters) -> float:
        return -float(ox.sum(ox.log_softmax(network.scores(ox, given, x), axis=1) * wanted)) / 4

    gradient = network.loss_gradient(ox, p, x, wanted)
    for i, a in enumerate(p):
        step = np.zeros(a.size)
        step[a.size // 2] = 1e-6
        moved = [ox.asarray(a.numpy() + sign * step.reshape(a.shape)) for sign in (1, -1)]
        slope = (loss((*p[:i], moved[0], *p[i + 1 :])) - loss((*p[:i], moved[1], *p[i + 1 :]))) / 2e-6
        assert gradient[i].numpy().ravel()[a.size // 2] == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_moved_images_are_shifted_by_at_most_a_pixel() -> None:
    image = np.arange(1.0, 65.0, dtype=np.float32).reshape(8, 8)
    given = ox.asarray(np.broadcast_to(image, (50, 1, 8, 8)).copy())
    ring = np.pad(image, 1)
    allowed = [ring[r : r + 8, c : c + 8].tolist() for r in range(3) for c in range(3)]
    seen = [m[0] for m in networks.moved(ox, given, ox.Generator(3), 1.0).tolist()]
    assert all(m in allowed for m in seen)
    assert len({str(m) for m in seen}) == 9
    assert networks.moved(ox, given, ox.Generator(3), 0.0).tolist() == given.tolist()


@pytest.mark.slow
def test_the_full_demo_reaches_its_targets(digits: Digits, tmp_path: Path, opmux: Command) -> None:
    status, _, err = opmux("demo", "--output", str(tmp_path))
    report = json.loads((tmp_path / "demo.json").read_text())
    assert status == 0, err
    reached = {(r["network"], r["backend"]): r["accuracy"] for r in report["runs"]}
    assert {b for _, b in reached} >= {"numpy", "llvm", MIX}
    assert min(a for (network, _), a in reached.items() if network == "dense") >= 0.97
    assert min(a for (network, _), a in reached.items() if network == "convolutional") >= 0.98
