"""Performance measured beside conformance: whatever happens there costs figures, not the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import Progress, TaskID

from ...core.errors import ConformanceError
from ..performance.isolated import performance_isolated
from ..performance.phase import Performance
from ..target import Target

Measured = dict[tuple[str, str], Performance]


def measured(
    targets: Iterable[Target], budget: float, pairs: Sequence[tuple[str, str]] | None, console: Console | None
) -> tuple[Measured, tuple[str, ...]]:
    """Measure targets one after the other, each in a process of its own.

    Args:
        targets: backends on devices.
        budget: seconds for each, about.
        pairs: ops and dtypes; None for those that a certificate tells of.
        console: for the progress bar; None shows none.

    Returns:
        What was measured by backend and device, and why others could not be, in words.
    """
    found: Measured = {}
    notes: list[str] = []
    shown = console is not None and console.is_terminal
    with Progress(console=console, transient=True, disable=not shown) as progress:
        for target in targets:
            task = progress.add_task(f"performance of {target.backend}", total=None)

            def tell(done: int, total: int, what: str, task: TaskID = task) -> None:
                progress.update(task, completed=done, total=total)

            name = target.device.name
            try:
                found[target.backend, name] = performance_isolated(
                    target.backend, name, pairs=pairs, budget=budget, progress=tell
                )
            except ConformanceError as error:
                notes.append(f"{error} (on {name})")
            progress.remove_task(task)
    return found, tuple(notes)
