"""The command that trains two networks: demo."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import ArgumentError
from .output import JsonOption, emit, fail, messages


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(demo)


def demo(
    output: Annotated[Path, typer.Option(help="Folder for the JSON and the chart.")] = Path("demo-output"),
    backend: Annotated[
        list[str] | None,
        typer.Option(help="Only this backend, and the dispatcher; may be repeated.", show_default=False),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Train two networks on real handwritten digits, on each backend and with the dispatcher choosing.

    Forward and backward passes are written in opset calls only.
    Prints accuracy, time, who ran what and why; writes it as JSON and as a chart.
    Takes a minute or two; exit status 1 when an accuracy target was missed.

    Needs scikit-learn and matplotlib, which the extra `demo` brings.

    Example: opmux demo --output results
    """
    missing = [name for name, module in (("scikit-learn", "sklearn"), ("matplotlib",) * 2) if find_spec(module) is None]
    if missing:
        raise ArgumentError(f"the demo needs {' and '.join(missing)}: pip install 'opmux[demo]'", missing=missing)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"cannot write to {output}: {error.strerror}", param_hint="--output") from error
    from .demo import load_digits, run_all, usable_backends
    from .demo_chart import draw
    from .demo_report import describe, missed_targets, show
    from .networks import RECIPES

    ways = usable_backends(backend or ())
    digits = load_digits()
    runs = run_all(digits, RECIPES, ways)
    report = describe(digits, runs)
    if json != "-":  # standard output then holds the JSON alone
        show(runs)
    emit(report, str(output / "demo.json"))
    draw(runs, output / "demo.png")
    messages.print(f"wrote {output / 'demo.png'}", markup=False)
    if json:
        emit(report, json)
    missed = missed_targets(runs)
    if missed:
        fail(missed)
        raise typer.Exit(1)
