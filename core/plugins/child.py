"""What runs inside a probe: the same steps as in the host, with every misfortune allowed.

Reports go to a pipe of their own, one JSON object a line, since plugins print: first each stage that is
entered, so that the host knows where a crash or a hang happened, last the outcome.
"""

from __future__ import annotations

import faulthandler
import json
import os
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from .. import runtime
from . import examine, validate
from .quarantine import QuarantineError, QuarantineReason, Stage, describe, refusal

#: Set in every probe to the path of a file. A process that the plugin starts and that loads backends removes it
#: (:func:`tell_of_recursion`): in a host it would load the plugin again, which would start another, without end.
INSIDE: Final = "OPMUX_INSIDE_PROBE"
# The host kills a late probe; where the host is gone too, the probe ends itself so much later.
_ORPHAN_GRACE: Final = 10.0


def main(request: dict[str, Any]) -> None:
    """Probe the plugin that a request describes, and leave the outcome on the pipe."""
    pipe = int(request["pipe"])
    os.set_inheritable(pipe, False)  # a process that the plugin leaves behind must not keep the pipe open
    faulthandler.enable()
    faulthandler.dump_traceback_later(request["limit"] + _ORPHAN_GRACE, exit=True)
    _forbid_core_dumps()
    try:
        # Holding the same lock as in the host: a thread of the plugin that waits for it must hang here, not there.
        runtime.load_once(lambda: _examine(request, pipe))
        outcome = {"outcome": "good", "stage": Stage.EXIT}
    except QuarantineError as error:
        outcome = _refused(error)
    except BaseException as error:  # in a probe an interrupt, too, can only be the plugin's doing
        detail = "".join(traceback.format_exception(error))
        outcome = _refused(refusal(Stage.PROBE, QuarantineReason.EXCEPTION, describe(error), detail=detail))
    _send(pipe, outcome)


def tell_of_recursion() -> bool:
    """Return whether this process was started inside a probe, and let the host know if so."""
    marker = os.environ.get(INSIDE)
    if marker is None:
        return False
    with suppress(OSError):
        Path(marker).unlink()
    return True


def _examine(request: dict[str, Any], pipe: int) -> None:
    _send(pipe, {"stage": Stage.IMPORT})
    plugin = examine.import_plugin(request["module"], request["attribute"])
    _send(pipe, {"stage": Stage.HOOKS})
    offer = examine.ask(plugin, request["name"])
    _send(pipe, {"stage": Stage.VALIDATION})
    validate.check(request["name"], offer, request["devices"])


def _refused(error: QuarantineError) -> dict[str, str]:
    return {
        "outcome": "refused",
        "stage": error.stage,
        "reason": error.reason,
        "message": str(error),
        "detail": error.detail,
    }


def _send(pipe: int, report: dict[str, str]) -> None:
    data = json.dumps(report).encode() + b"\n"
    with suppress(OSError):  # the plugin closed the pipe, or the host is gone; silence is an outcome as well
        while data:
            data = data[os.write(pipe, data) :]


def _forbid_core_dumps() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
