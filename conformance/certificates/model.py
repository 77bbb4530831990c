"""What a certificate says, as frozen dataclasses; their fields are the keys of the JSON file, in this order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from ...core.errors import shown
from ...core.sealed import DIGEST, SIGNATURE, is_intact, sealed
from ..results.outcome import CaseResult, Outcome
from .decode import decode
from .errors import CertificateError
from .packing import packed, unpacked

KIND: Final = "opmux-certificate"
#: Of the file format. MAJOR steps when a reader of the old one would misread the new one.
SCHEMA_VERSION: Final = "2.0"
#: Formats of former versions; 1.0 named the outcome of every case by itself.
_FORMER: Final = ("1.0",)


@dataclass(frozen=True, slots=True)
class Suite:
    """The suite that asked.

    Attributes:
        version: of opmux, which the suite is part of.
        digest: of the files of the suite and of the opset; with the same one the same questions were asked.
        core: digest of the files of opmux's core, which carried the calls.
        opset: version of the opset.
        cases: how many cases the whole suite has.
    """

    version: str
    digest: str
    core: str
    opset: str
    cases: int


@dataclass(frozen=True, slots=True)
class Backend:
    """The implementation that answered.

    Attributes:
        name, version, distribution: the backend, its version, and the installed package that it comes from.
        implementation: digest of its files, or ``"unidentified"``.
        claims: the profiles that it claims.
        dependencies: versions of the packages that its distribution requires.
    """

    name: str
    version: str
    distribution: str
    implementation: str
    claims: tuple[str, ...]
    dependencies: dict[str, str]


@dataclass(frozen=True, slots=True)
class DeviceUsed:
    """The device on which it answered; fields as in ``results.subject.Subject``."""

    name: str
    kind: str
    model: str
    memory: int
    flushes_subnormals: bool
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """How the run was made.

    Attributes:
        begun: when, as ISO 8601 in UTC.
        seconds: wall time, of all shards together.
        seed: of what the cases drew at random.
        command: that makes the same run again.
        quick, partial, stopped: whether cases were left out, and why.
        isolated: whether every case ran in a worker process of the suite.
        resumed: whether it went on where an interrupted run ended.
        shards: ``"1/2"`` and so on, where it was shared out.
    """

    begun: str
    seconds: float
    seed: int
    command: str
    quick: bool
    partial: bool
    stopped: bool
    isolated: bool
    resumed: bool
    shards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a certificate is not complete: a :class:`Missing` and what it is about."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """The verdict on a profile; fields as in ``results.profiles.ProfileVerdict``.

    Attributes:
        passed_whole: whether all of it was run, and nothing of it is missing or waived.
        conformant: whether the certificate is conformant to it: it is passed whole, and nothing failed anywhere.
    """

    profile: str
    claimed: bool
    passed: int
    of: int
    whole: bool
    missing: tuple[str, ...]
    pairs: tuple[str, ...]
    waived: int
    passed_whole: bool
    conformant: bool


@dataclass(frozen=True, slots=True)
class Worst:
    """The largest error seen in a case that passed."""

    error: float
    unit: str
    case: str
    kernel: str


@dataclass(frozen=True, slots=True)
class KernelRow:
    """What one kernel did in the cases of one op and dtype.

    Attributes:
        name: ``backend/kernel``, or ``decomposition of ...``.
        ran: in how many cases.
        worst_ulp: the largest error seen, where errors are counted in ULP.
        refuted: the first case that it failed; empty where there is none.
        declared: whether it is one of the backend's kernels that take this dtype; what ran after casts, or in a
            decomposition, has nothing to claim about it.
        promised_ulp, determinism, order: what it promises beyond the contract.
    """

    name: str
    ran: int
    worst_ulp: float | None
    refuted: str
    declared: bool = False
    promised_ulp: float | None = None
    determinism: str = "none"
    order: str | None = None


@dataclass(frozen=True, slots=True)
class OpRow:
    """One op with a leading operand of one dtype.

    Attributes:
        op, dtype: which.
        counts: cases by outcome; outcomes without any are left out.
        kernels: that ran, or were refuted.
        worst: the largest error per unit; empty where results are exact.
        determinism: outcome of each case about determinism, by its label.
    """

    op: str
    dtype: str
    counts: dict[str, int]
    kernels: tuple[KernelRow, ...]
    worst: tuple[Worst, ...]
    determinism: dict[str, str]

    @property
    def pair(self) -> str:
        """The key of its cases."""
        return f"{self.op}-{self.dtype}"


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """What is proved of a kernel on a dtype; the dispatcher reads these rows.

    Attributes:
        kernel, op, dtype: whose, of what.
        level: ``"shown"`` or ``"refuted"``.
        max_ulp: the largest error seen, where errors are counted in ULP.
        promised_ulp: the bound that it promises, and kept to.
        determinism: the class that it promises, and kept to.
    """

    kernel: str
    op: str
    dtype: str
    level: str
    max_ulp: float | None
    promised_ulp: float | None
    determinism: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that failed, crashed or hung."""

    id: str
    outcome: str
    message: str
    reproducer: str
    flaky: bool


@dataclass(frozen=True, slots=True)
class Note:
    """A case and what is to be said of it."""

    id: str
    message: str


@dataclass(frozen=True, slots=True)
class Signature:
    """Who vouches for the digest.

    Attributes:
        algorithm: ``"ed25519"``.
        public_key: of the signer, 32 bytes in base64.
        value: the signature, 64 bytes in base64.
    """

    algorithm: str
    public_key: str
    value: str


@dataclass(frozen=True)
class Certificate:
    """The record of a run about one implementation on one device.

    Attributes:
        headline: what it comes to, in one line.
        schema_version, kind: of the file.
        suite, backend, device, environment, run: who asked whom, where and how.
        complete: whether it can show anything: every case of the suite was executed exactly once, in isolation, on
            files that stayed the same.
        incomplete: why it is not complete.
        conformant: the profiles that are passed; none where a case failed anywhere, or where it is not complete.
        profiles: verdicts.
        counts: cases by outcome.
        assertions: how many results, refusals and facts were held to what they must be.
        ops: a row per op and dtype.
        claims: what is proved of each kernel.
        cases: outcomes by op and dtype, then by the rest of the case's id.
        failures, waivers, warnings, troubles: what is to be told.
        waiver_faults: waivers that have expired or that nothing needs, in words.
        performance: how fast, where it was measured.
        signature: outside of the seal.
        digest: of all the rest; set when it is written.
    """

    headline: str
    schema_version: str
    kind: str
    suite: Suite
    backend: Backend
    device: DeviceUsed
    environment: dict[str, str]
    run: Run
    complete: bool
    incomplete: tuple[Obstacle, ...]
    conformant: tuple[str, ...]
    profiles: tuple[ProfileRow, ...]
    counts: dict[str, int]
    assertions: int
    ops: tuple[OpRow, ...]
    claims: tuple[ClaimRow, ...]
    cases: dict[str, dict[str, str]]
    failures: tuple[Failure, ...]
    waivers: tuple[dict[str, str], ...]
    warnings: tuple[Note, ...]
    troubles: tuple[str, ...]
    waiver_faults: tuple[str, ...]
    performance: dict[str, Any] | None
    signature: Signature | None = None

    @classmethod
    def from_dict(cls, document: object, where: str = "certificate") -> Certificate:
        """Return the certificate that a JSON document holds.

        Args:
            document: as read.
            where: the file, for messages.

        Raises:
            CertificateError: it is of another kind, of a newer format, was edited since it was sealed, or lacks a part.
        """
        check_kind(document, where)
        if not isinstance(document, Mapping) or not is_intact(document):
            raise CertificateError(
                f"{where} was edited since it was sealed: its digest is not that of its content", where=where
            )
        # Without the cases first: their order is that of the rows.
        made = decode(cls, {key: value for key, value in document.items() if key != DIGEST} | {"cases": {}}, where)
        made = replace(made, cases=unpacked(document.get("cases"), where, [row.pair for row in made.ops]))
        if levels := {row.level for row in made.claims} - {"shown", "refuted"}:
            raise CertificateError(f"{where} has {shown(min(levels), 40)}, which is no level of a claim", where=where)
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON, sealed."""
        about = {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name != SIGNATURE}
        about["cases"] = packed(self.cases)
        made = sealed(about)
        return made if self.signature is None else {**made, SIGNATURE: asdict(self.signature)}

    @property
    def digest(self) -> str:
        """Digest of all but the signature."""
        return str(self.to_dict()[DIGEST])

    @property
    def subject(self) -> str:
        """Whom it is about, in words."""
        return f"{self.backend.name} {self.backend.version} on {self.device.model} ({self.device.name})"

    def outcomes(self) -> Iterator[tuple[str, Outcome]]:
        """Yield every case's id and outcome."""
        for pair, rest in self.cases.items():
            for label, outcome in rest.items():
                yield f"{pair}-{label}", Outcome(outcome)

    def results(self) -> list[CaseResult]:
        """Return the cases as results of a run, without errors and messages."""
        return results_of(self.cases, self.backend.name, self.device.name)


def results_of(cases: Mapping[str, Mapping[str, str]], backend: str, device: str) -> list[CaseResult]:
    """Return results with nothing but ids and outcomes."""
    made = []
    for pair, rest in cases.items():
        op, _, dtype = pair.partition("-")
        for label, outcome in rest.items():
            kind = label.partition("-")[0]
            made.append(CaseResult(f"{pair}-{label}", backend, op, dtype, kind, device, Outcome(outcome)))
    return made


def check_kind(document: object, where: str) -> None:
    """Refuse what is no certificate, or one of a format that this version does not know.

    Raises:
        CertificateError: for either.
    """
    if not isinstance(document, Mapping) or document.get("kind") != KIND:
        raise CertificateError(
            f"{where} is no certificate: {_what(document)}; `opmux conformance --certificate FILE` makes one",
            where=where,
        )
    version = document.get("schema_version")
    if version is None:
        raise CertificateError(
            f"{where} calls itself a certificate and has no schema_version, which every certificate has: it was cut, "
            f"or written by something else than opmux",
            where=where,
        )
    if version != SCHEMA_VERSION:
        older = isinstance(version, str) and version in _FORMER
        remedy = (
            "run the suite again, or read it with the opmux that made it" if older else "read it with a newer opmux"
        )
        raise CertificateError(
            f"{where} is a certificate with schema_version {shown(version, 20)}; this opmux reads {SCHEMA_VERSION}: "
            f"{remedy}",
            where=where,
            version=version,
        )


def _what(document: object) -> str:
    """Return what a document is that is no certificate, as far as it shows."""
    if not isinstance(document, Mapping):
        return f"it holds {shown(document, 40)} and not an object"
    if "kind" in document:
        return f"its kind is {shown(document['kind'], 40)} and not {KIND!r}"
    if {"exit_code", "cases", "profiles"} <= set(document):
        return "it is what `opmux conformance --json` writes of a run"
    return f"it has no 'kind', which is {KIND!r} in every certificate"


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back: rows as objects, tuples as lists."""
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(x) for key, x in value.items()}
    return [_plain(x) for x in value] if isinstance(value, list | tuple) else value
