"""The suite as pytest tests, one item per case: ``pytest -p opmux.conformance.plugin --opmux-backend acme``.

Cases run in a worker process of the suite, so that a crash or a hang fails one test. What a backend does not support is
skipped with the refusal as the reason; only the command ``opmux conformance`` speaks for a whole profile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from .results.outcome import CaseResult, Outcome
from .running.isolation import Job, Runner
from .running.selection import TIME_LIMIT, Selection, chosen_cases

_RUNNER: Final = pytest.StashKey[Runner]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; without ``--opmux-backend`` the plugin does nothing."""
    group = parser.getgroup("opmux", "opmux conformance")
    add = group.addoption
    add(
        "--opmux-backend", action="append", default=[], metavar="NAME", help="run the suite on this backend; repeatable"
    )
    add("--opmux-profile", metavar="NAME", help="only the pairs of op and dtype of a profile")
    add("--opmux-op", action="append", default=[], metavar="OP", help="only this op; repeatable")
    add("--opmux-dtype", action="append", default=[], metavar="T", help="only this dtype; repeatable")
    add("--opmux-case", action="append", default=[], metavar="ID", help="only this case, by its exact id; repeatable")
    add("--opmux-quick", action="store_true", help="a sample of the cases; not sufficient for a claim")
    add("--opmux-seed", type=int, default=0, metavar="N", help="seed of what the cases draw at random")
    add("--opmux-in-process", action="store_true", help="run here, where a crash ends everything: for debuggers")
    add("--opmux-timeout", type=float, default=TIME_LIMIT, metavar="S", help="seconds that one case may take")


def _selection(config: pytest.Config) -> Selection:
    get = config.getoption
    return Selection(
        tuple(get("--opmux-backend")), get("--opmux-profile"), tuple(get("--opmux-op")), tuple(get("--opmux-dtype")),
        get("--opmux-quick"), tuple(get("--opmux-case")), isolate=not get("--opmux-in-process"),
        limit=get("--opmux-timeout"), seed=get("--opmux-seed"),
    )  # fmt: skip


class Failure(Exception):
    """A case that did not pass."""


class Conformance(pytest.Collector):
    """All cases of the backends asked for."""

    def collect(self) -> Iterator[pytest.Item]:
        """Return one item per case, those of one op and dtype together."""
        from .target import targets

        selection = _selection(self.config)
        chosen = chosen_cases(selection)
        for backend in selection.backends:
            for target in targets(backend):
                for (op, t), mine in chosen.items():
                    for case in mine:
                        job = Job(backend, target.device.name, op, t, selection.quick, (case,), selection.seed)
                        name = f"{backend}-{target.device.name}-{case}"
                        yield ConformanceItem.from_parent(self, name=name, job=job)


class ConformanceItem(pytest.Item):
    """One case on one device of one backend."""

    def __init__(self, *, job: Job, **rest: Any) -> None:
        super().__init__(**rest)
        self.job = job

    def runtest(self) -> None:
        """Run it; what is not supported is skipped, what is wrong fails."""
        result = self._result()
        self.user_properties += [
            ("opmux-kernel", result.kernel),
            ("opmux-worst", result.worst),
            ("opmux-unit", result.unit),
        ]
        if result.outcome is Outcome.UNSUPPORTED:
            pytest.skip(f"unsupported: {result.message}")
        if result.outcome is not Outcome.PASS:
            raise Failure(f"{result.outcome.value}: {result.message}\n{result.reproducer}")

    def _result(self) -> CaseResult:
        if self.config.getoption("--opmux-in-process"):
            return _here(self.job)
        (result,) = self.config.stash[_RUNNER].run(self.job)
        return result

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the message alone: the suite's own frames say nothing."""
        if isinstance(excinfo.value, Failure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, None, str]:
        """Return what a report calls it."""
        return "opmux-conformance", None, self.name


def _here(job: Job) -> CaseResult:
    from ..core.devices.device import find_device
    from ..core.dispatch.claims import CLAIMS
    from .cases.enumerate import cases
    from .running.execute import execute
    from .target import Target

    case = next(c for c in cases(job.op, job.dtype, job.quick, job.seed) if c.id in job.only)
    with CLAIMS.set_aside():
        return execute(case, Target(job.backend, find_device(job.device)), job)


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the cases to whatever else is collected."""
    if not config.getoption("--opmux-backend"):
        return
    from ..core.runtime import ensure_loaded

    ensure_loaded()
    config.stash[_RUNNER] = Runner(config.getoption("--opmux-timeout"))
    items.extend(Conformance.from_parent(session, name="opmux-conformance", nodeid="opmux-conformance").collect())


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the worker."""
    runner = config.stash.get(_RUNNER, None)
    if runner is not None:
        runner.close()
