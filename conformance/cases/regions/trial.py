"""Graphs cut into regions by the compilers of one backend, each region run and held to its nodes.

What no compiler takes is computed by the oracle, so a region is judged on its own: on the operands that it really gets,
whatever runs around it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.dispatch.candidates import ready
from ....core.dispatch.decision import Candidate
from ....core.dispatch.policy import current
from ....core.dispatch.registry import REGISTRY
from ....core.dtypes import DType
from ....core.errors import ConformanceError, DeviceLostError, OpmuxError, PluginWarning
from ....core.graphs.graph import Graph, RegionCompiler
from ....core.graphs.plans import region_planner
from ....core.graphs.regions import Segment, cut, inlined
from ....core.graphs.trace import capture_function
from ....core.kernel import ArraySpec, Determinism, Kernel
from ... import hoststate
from ...oracle.canonical import NoCanonicalOrderError
from ...oracle.compare import Judge, Where, check_layout
from ...oracle.formats import Host
from ...oracle.regions import NoBoundError, judges, lead, one_by_one
from ...target import Findings, RefusedError, Target, Watch, check_truth, dense, soil, soil_host

#: Results of at most so many bytes in all are asked for a second time; the oracle of larger ones takes seconds.
_AGAIN: Final = 1 << 17
#: What is added to the name of a family that promises the bits of any batch, while it was run on one batch only.
ONE_BATCH: Final = " on one batch"


@dataclass(frozen=True)
class Given:
    """An operand of a graph: on the host, and on the device behind the strides that a case is about."""

    host: Host
    array: Array


@dataclass
class Trial:
    """The regions of some graphs.

    Args:
        target: the backend and the device.
        findings: takes in the families whose regions ran.
        about: the dtype that the case is about.

    Attributes:
        ran: how many regions ran and were right.
        kept: what regions gave that promise the bits of any batch, by name and ops.
        nameless: names of regions' kernels without a family.
        refusals: why regions were not run or not judged.
    """

    target: Target
    findings: Findings
    about: DType
    ran: int = 0
    kept: dict[tuple[str, ...], list[Host]] = field(default_factory=dict)
    nameless: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)

    def compilers(self) -> list[tuple[str, RegionCompiler]]:
        """Return the backend's region compilers for the device.

        Raises:
            RefusedError: it has none.
        """
        found = [(name, c) for name, c in REGISTRY.compilers(self.target.device.kind) if name == self.target.backend]
        if not found:
            raise RefusedError(f"{self.target.backend} compiles no regions for {self.target.device.kind}")
        return found

    def run(self, function: Callable[..., Any], given: Sequence[Given]) -> None:
        """Capture a function, let each compiler cut it, and hold every region to its nodes."""
        device = self.target.device
        specs = [ArraySpec(x.array.dtype, x.array.shape) for x in given]
        graph = inlined(capture_function(function, device, specs, {}).graph, device)
        for named in self.compilers():
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always", PluginWarning)
                segments = cut(graph, [named], device)
            wrong = [w for w in told if issubclass(w.category, PluginWarning)]
            if wrong:
                raise ConformanceError(f"{self.target.backend}: {wrong[0].message}")
            self._walk(graph, segments, given)

    def conclude(self) -> None:
        """Demand that regions ran, and that they can be judged.

        Raises:
            RefusedError: no region took a part of any graph, or those that did name no family.
        """
        if not self.ran:
            why = f": {self.refusals[0]}" if self.refusals else ""
            raise RefusedError(f"no region of {self.target.backend} takes two nodes of it{why}")
        if not self.findings.errors:
            raise RefusedError(f"{', '.join(sorted(self.nameless))} is right and names no family to be judged as")

    def _walk(self, graph: Graph, segments: Sequence[Segment], given: Sequence[Given]) -> None:
        hosts = dict(enumerate([*(x.host for x in given), *(c.numpy() for c in graph.constants)]))
        arrays = dict(enumerate([*(x.array for x in given), *graph.constants]))
        for segment in segments:
            mine = [hosts[i] for i in segment.inputs]
            made: list[Host] | None = None
            if segment.kernels:
                laid = [arrays[i] if i in arrays else dense(hosts[i], self.target.device) for i in segment.inputs]
                made = self._region(segment, [Given(h, a) for h, a in zip(mine, laid, strict=True)])
            try:
                results = one_by_one(segment.graph, mine) if made is None else made
            except NoCanonicalOrderError as error:
                self.refusals.append(str(error))
                return
            hosts.update(zip(segment.outputs, results, strict=True))

    def _region(self, segment: Segment, given: Sequence[Given]) -> list[Host] | None:
        """Return what a region gave; None where it was not run."""
        signatures = tuple(x.array._sig for x in given)
        planner = region_planner(segment.graph, signatures, self.target.device, current().slot.tables)
        made: list[Host] | None = None
        for backend, kernel in segment.kernels:
            candidate = ready(planner.kernel(backend, kernel))
            self.target.check_rejection("a region", candidate.name, candidate.rejection)
            if candidate.rejection is not None:
                self.refusals.append(f"{candidate.name}: {candidate.rejection.detail}")
                continue
            made = self._kernel(segment.graph, kernel, candidate, given) or made
        return made

    def _kernel(self, graph: Graph, kernel: Kernel, candidate: Candidate, given: Sequence[Given]) -> list[Host] | None:
        promised, info = kernel.promises.determinism, self.target.device.info
        canonical = promised is Determinism.CANONICAL and not info.flushes_subnormals
        try:
            held = judges(graph, [x.host for x in given], canonical=canonical, flushes=info.flushes_subnormals)
        except (NoCanonicalOrderError, NoBoundError) as error:
            self.refusals.append(f"{candidate.name}: {error}")
            return None
        name = self._name(graph, kernel)
        if name is not None:
            self.findings.ran(name)  # before it is run: a failure is that of its family
        try:
            results = self._launched(candidate, graph, given)
            worst = max(map(self._held, [graph.specs[i] for i in graph.outputs], held, results), default=0.0)
            if promised.value >= Determinism.RUN.value and sum(x.nbytes for x in results) <= _AGAIN:
                again = self._launched(candidate, graph, given)
                same_bits(results, again, "on a second run with the same operands")
        except DeviceLostError:
            raise
        except OpmuxError as error:
            raise ConformanceError(f"{name or candidate.name}: {error}", **error.culprits) from error
        self.ran += 1
        if promised is Determinism.BATCH:
            self.kept[name or candidate.name, *(node.op.name for node in graph.nodes)] = results
        if name is None:
            self.nameless.add(candidate.name)
        else:
            self.findings.held_as(name, worst, "exact" if canonical else "of the bound")
        return results

    def _name(self, graph: Graph, kernel: Kernel) -> str | None:
        """Return what a region is judged as in this case, or a name with a blank, which shows nothing.

        One that another dtype leads is not of this case's dtype. Of a region on the host the suite does not know
        whether another number of threads would change its bits, but for canonical ones, whose bits it knows. Of one
        that promises the bits of any batch, a run says nothing before it is compared with that of another batch.
        """
        if kernel.family is None:
            return None
        first, promised = lead(graph), kernel.promises.determinism
        name = f"{self.target.backend}/{kernel.judged_as}"
        if self.target.device.is_host and promised in (Determinism.THREADS, Determinism.BATCH):
            return f"{name} on one number of threads"
        if first is not self.about:
            return f"{name} on {first.name}"
        return f"{name}{ONE_BATCH}" if promised is Determinism.BATCH else name

    def _launched(self, candidate: Candidate, graph: Graph, given: Sequence[Given]) -> list[Host]:
        """Run a region in memory that held garbage, and demand that it left its operands alone."""
        device = self.target.device
        for nbytes in {s.nbytes for s in (candidate.spec.outputs if candidate.spec else ())}:
            soil(device, nbytes)
        if candidate.run is None:
            raise ConformanceError("it is neither refused nor ready, a fault of opmux")
        with Watch(self.target.backend, "a region"):
            arrays = candidate.run([x.array for x in given], None)
            if not device.is_host:
                soil_host(max((x._sig.nbytes for x in arrays), default=0))
            results = [np.asarray(x.numpy()) for x in arrays]
        hoststate.check(candidate.name)
        for i, x in enumerate(given):
            if x.array._sig.contiguous and x.array.numpy().tobytes() != np.ascontiguousarray(x.host).tobytes():
                raise ConformanceError(f"it wrote to operand {i}", operand=i)
        return results

    def _held(self, spec: ArraySpec, judge: Judge, got: Host) -> float:
        where = Where("the region", spec.dtype)
        check_layout(got, spec.shape, where)
        worst = judge.hold(got, where)
        check_truth(got)
        return worst


def same_bits(first: Sequence[Host], second: Sequence[Host], when: str) -> None:
    """Demand the same bits of two runs.

    Raises:
        ConformanceError: naming the result that has others.
    """
    for i, (x, y) in enumerate(zip(first, second, strict=True)):
        if x.tobytes() != y.tobytes():
            raise ConformanceError(f"result {i} has other bits {when}", result=i)
