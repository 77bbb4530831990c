"""The process of one trial: ``python -m tests.backends.cuda.hardware.one NAME``.

Its last line of output is a JSON object with the outcome and what was said.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import traceback
from typing import Final

import opmux as ox
from opmux.benchmarks.devices import check_device
from opmux.benchmarks.errors import DeviceMissingError

from .catalogue import TRIALS
from .trial import NotHereError, Place

#: Seconds before its limit at which a trial that hangs says where.
EARLY: Final = 3.0


def carried_out(name: str) -> dict[str, str]:
    """Return the outcome of a trial on the first GPU, and what is said of it."""
    try:
        check_device("cuda")
        with ox.policy(fallback="forbid"):
            said = TRIALS[name].run(Place(ox.device("cuda:0")))
    except DeviceMissingError as error:
        return {"outcome": "no GPU", "said": str(error)}
    except NotHereError as error:
        return {"outcome": "skip", "said": str(error)}
    except Exception as error:
        return {"outcome": "fail", "said": f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-6)}"}
    return {"outcome": "pass", "said": said or ""}


def main() -> None:
    """Carry out the trial that the command line names."""
    name = sys.argv[1]
    faulthandler.enable()
    faulthandler.dump_traceback_later(max(TRIALS[name].seconds - EARLY, 1.0))
    made = carried_out(name)
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(made), flush=True)


if __name__ == "__main__":
    main()
