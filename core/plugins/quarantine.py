"""Why a backend is kept out: the record that outlives its failure, and the error that carries it."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from ..errors import DeviceError, OpmuxError, PluginError

#: Characters of a traceback or of a plugin's output that are kept: its end, where the cause is.
KEPT_TEXT: Final = 64 << 10


class Stage(StrEnum):
    """How far a backend came."""

    DISCOVERY = "discovery"
    MANIFEST = "manifest"
    PROBE = "probe"
    IMPORT = "import"
    HOOKS = "hooks"
    VALIDATION = "validation"
    EXIT = "exit"


class QuarantineReason(StrEnum):
    """Why a backend is kept out. The values are stable; programs may compare them."""

    BROKEN_METADATA = "broken-metadata"
    UNKNOWN_NAME = "unknown-name"
    DUPLICATE_NAME = "duplicate-name"
    RESERVED_NAME = "reserved-name"
    NO_MANIFEST = "no-manifest"
    BAD_MANIFEST = "bad-manifest"
    SPI_VERSION = "spi-version"
    OPSET_VERSION = "opset-version"
    DEVICE_KIND_TAKEN = "device-kind-taken"
    IMPORT_ERROR = "import-error"
    BAD_SETTING = "bad-setting"
    DEVICE_ERROR = "device-error"
    EXCEPTION = "exception"
    EXITED = "exited"
    CRASHED = "crashed"
    HUNG = "hung"
    RECURSIVE = "recursive"
    PROBE_NOT_STARTED = "probe-not-started"
    HOOK_SIGNATURE = "hook-signature"
    INVALID = "invalid"


_REMEDIES: Final[Mapping[QuarantineReason, str]] = {
    QuarantineReason.BROKEN_METADATA: "reinstall {distribution}",
    QuarantineReason.UNKNOWN_NAME: "correct OPMUX_BACKENDS, or install the backend",
    QuarantineReason.DUPLICATE_NAME: "uninstall one of the two, or keep both out with OPMUX_DISABLE={name}",
    QuarantineReason.RESERVED_NAME: "uninstall {distribution}, or ask its authors to choose another name",
    QuarantineReason.NO_MANIFEST: "ask the authors of {distribution} to ship opmux-backend.toml inside the package",
    QuarantineReason.BAD_MANIFEST: "ask the authors of {distribution} to correct the manifest",
    QuarantineReason.SPI_VERSION: "install a version of {distribution} made for this opmux",
    QuarantineReason.OPSET_VERSION: "install a version of {distribution} made for this opset, or update opmux",
    QuarantineReason.DEVICE_KIND_TAKEN: "keep one of the two with OPMUX_DISABLE={name}",
    QuarantineReason.IMPORT_ERROR: "install what is missing, then run `opmux doctor --retry`",
    QuarantineReason.BAD_SETTING: "correct the environment variable that is named here",
    QuarantineReason.DEVICE_ERROR: "correct what is named here, then run `opmux doctor --retry`",
    QuarantineReason.EXCEPTION: "report the traceback to the authors of {distribution}",
    QuarantineReason.EXITED: "report it to the authors of {distribution}: a plugin must not end the process",
    QuarantineReason.CRASHED: "report the traceback to the authors of {distribution}; check the driver's version",
    QuarantineReason.HUNG: "raise OPMUX_PROBE_TIMEOUT (seconds) if it is only slow, then `opmux doctor --retry`",
    QuarantineReason.RECURSIVE: "tell the authors of {distribution} that loading a plugin must not start opmux anew",
    QuarantineReason.PROBE_NOT_STARTED: "run opmux from an interpreter that can start itself, then retry",
    QuarantineReason.HOOK_SIGNATURE: "ask the authors of {distribution} to correct the hook",
    QuarantineReason.INVALID: "ask the authors of {distribution} to correct what it registers",
}


class QuarantineError(PluginError):
    """A backend that is kept out; ``stage``, ``reason`` and ``detail`` (the whole traceback) are attributes."""


def refusal(
    stage: Stage, reason: QuarantineReason, message: str, *, detail: str = "", **culprits: Any
) -> QuarantineError:
    """Return the error that puts a backend into quarantine."""
    return QuarantineError(message, stage=stage, reason=reason, detail=detail[-KEPT_TEXT:], **culprits)


@dataclass(frozen=True, slots=True)
class QuarantineRecord:
    """One backend that is kept out, and all that is known about why.

    Attributes:
        name: its name, from the entry point.
        distribution: the distribution that it comes from; empty where there is none.
        version: that distribution's version.
        stage: how far it came.
        reason: the cause, for programs.
        message: the cause, for people.
        traceback: the whole traceback, the list of faults, or the end of what a crashed probe wrote; may be empty.
        remedy: what to do.
    """

    name: str
    distribution: str
    version: str
    stage: Stage
    reason: QuarantineReason
    message: str
    traceback: str
    remedy: str

    def as_json(self) -> dict[str, str]:
        """Return the fields as JSON can hold them."""
        return {key: str(value) for key, value in asdict(self).items()}


def record(error: QuarantineError, *, name: str, distribution: str = "", version: str = "") -> QuarantineRecord:
    """Return the record of an error that :func:`refusal` made."""
    reason: QuarantineReason = error.reason
    remedy = _REMEDIES[reason].format(name=name, distribution=distribution or name)
    return QuarantineRecord(name, distribution, version, error.stage, reason, str(error), error.detail, remedy)


def describe(error: BaseException) -> str:
    """Return the type and message of an exception, even one whose ``__str__`` fails."""
    return "".join(traceback.format_exception_only(error)).strip()


@contextlib.contextmanager
def guarded(stage: Stage, what: str) -> Iterator[None]:
    """Turn whatever a plugin's code raises into a refusal that keeps the traceback.

    An opmux error with a ``variable`` is the user's mistake in that environment variable, and a ``DeviceError`` says
    what keeps the devices of this machine from being used: their messages say all.

    Raises:
        QuarantineError: instead of any exception, `SystemExit` included.
        KeyboardInterrupt: the user's, unchanged.
    """
    try:
        yield
    except (QuarantineError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if isinstance(error, OpmuxError) and "variable" in error.culprits:
            raise refusal(stage, QuarantineReason.BAD_SETTING, str(error), variable=error.variable) from error
        if isinstance(error, DeviceError):
            raise refusal(stage, QuarantineReason.DEVICE_ERROR, str(error)) from error
        reason, said = _classify(error)
        detail = "".join(traceback.format_exception(error))
        raise refusal(stage, reason, f"{what} {said}", detail=detail) from error


def _classify(error: BaseException) -> tuple[QuarantineReason, str]:
    if isinstance(error, ImportError):
        return QuarantineReason.IMPORT_ERROR, f"failed: {describe(error)}"
    if isinstance(error, SystemExit):
        return QuarantineReason.EXITED, f"tried to end the process: {describe(error)}"
    return QuarantineReason.EXCEPTION, f"raised {describe(error)}"
