"""The communicator over MPI, under mpiexec; skipped where mpi4py or a launcher is not installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import types
from pathlib import Path

import pytest

from opmux.backends.mpi import launch, opmux_communicators
from opmux.backends.mpi.endpoint import MpiEndpoint
from opmux.backends.mpi.messages import StandingMessages
from opmux.core.collectives.frames import Frames
from opmux.core.errors import CollectiveError
from tests.collectives.mpi_program import ENDLESS

ROOT = Path(__file__).parents[2]
LAUNCHER = shutil.which("mpiexec", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', '')}")
needs_mpi = pytest.mark.skipif(
    LAUNCHER is None or importlib.util.find_spec("mpi4py") is None,
    reason="needs mpi4py and mpiexec: pip install 'opmux[mpi]'",
)


def mpiexec(scenario: str, ranks: int = 3, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a scenario on so many processes."""
    assert LAUNCHER is not None
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI", "PRTE_"))},
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PYTHONPATH": str(ROOT),
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    command = [LAUNCHER, *options, "-n", str(ranks), sys.executable, "-m", "tests.collectives.mpi_program", scenario]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=0.8 * ENDLESS)


def tolerates_faults() -> bool:
    """Return whether the launcher has a fault-tolerant mode."""
    assert LAUNCHER is not None
    info = Path(LAUNCHER).with_name("ompi_info")
    return info.exists() and "FT MPI support: yes" in subprocess.run([info], capture_output=True, text=True).stdout


@needs_mpi
@pytest.mark.parametrize("ranks", [1, 3])
def test_collectives_are_right(ranks):
    done = mpiexec("right", ranks)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("right") == ranks


@needs_mpi
def test_own_collectives_of_mpi_are_right():
    done = mpiexec("native", 2)
    assert (done.returncode, done.stdout.count("right")) == (0, 2), done.stdout + done.stderr


@needs_mpi
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_public_calls_are_right_however_they_are_carried(ranks):
    done = mpiexec("public", ranks)
    assert (done.returncode, done.stdout.count("right")) == (0, ranks), done.stdout + done.stderr


class Request:
    """A persistent request: under way or not; posting it can be interrupted."""

    def __init__(self, is_over=True, interrupted=False):
        self.is_over, self.interrupted, self.freed = is_over, interrupted, False

    def Start(self):
        if self.interrupted:
            raise KeyboardInterrupt

    def Test(self):
        return self.is_over

    def Free(self):
        self.freed = True


def standing(*requests):
    mpi = types.SimpleNamespace(Exception=OSError, REQUEST_NULL=None, Status=object)
    return StandingMessages(mpi, {1: requests[0]}, {1: requests[1]}, lambda: False)


def test_requests_under_way_are_not_freed():
    requests = Request(), Request(is_over=False)
    standing(*requests).free()
    assert [r.freed for r in requests] == [True, False]


def test_a_header_that_an_interrupt_kept_back_says_so():
    messages = standing(Request(), Request(interrupted=True))
    with pytest.raises(KeyboardInterrupt):
        messages.start(0)
    _, going = messages.tickets()
    with pytest.raises(CollectiveError, match="interrupt"):
        going[1].done()


class Refusal(Exception):
    def Get_error_class(self):
        return 75

    def Get_error_string(self):
        return "the process has failed"


def test_requests_that_mpi_does_not_make_end_in_an_error_of_the_call():
    made = Request()

    def refused(*given):
        raise Refusal

    mpi = types.SimpleNamespace(Exception=Refusal, REQUEST_NULL=None, Status=object, BYTE=None, ERR_PROC_FAILED=75)
    comm = types.SimpleNamespace(Recv_init=lambda *given: made, Send_init=refused, Isend=refused, Irecv=refused)
    endpoint = MpiEndpoint(mpi, comm, [0, 1], 0, 1 << 30, None, lambda: None, lambda: False)
    messages = Frames(endpoint).messages
    messages.start(1 << 16)
    assert not messages.have_come(1)
    for tickets in messages.tickets():
        with pytest.raises(CollectiveError, match="has failed") as caught:
            tickets[1].done()
        assert (caught.value.rank, caught.value.cause) == (1, "died")
    assert made.freed


@needs_mpi
def test_several_ranks_in_each_process():
    done = mpiexec("two_each", 2)
    assert (done.returncode, done.stdout.count("right")) == (0, 2), done.stdout + done.stderr


@needs_mpi
def test_another_call_is_named_on_every_rank():
    done = mpiexec("differ")
    assert len(re.findall(r"rank \d: mismatch 1 in time=True: .*rank 1 called all_gather", done.stdout)) == 3
    assert done.stdout.count("again: True") == 3


@needs_mpi
def test_a_message_longer_than_expected_writes_nothing():
    done = mpiexec("lengths", 2)
    found = [re.findall(rf"rank {rank} by (\w+): mismatch 1", done.stdout) for rank in (0, 1)]
    assert (done.returncode, found) == (0, [["mpi", "doubling", "ring"]] * 2), done.stdout + done.stderr


@needs_mpi
def test_processes_that_meet_again_after_a_failure_go_on():
    done = mpiexec("recover", 2)
    assert (done.returncode, done.stdout.count("right")) == (0, 2), done.stdout + done.stderr
    assert "ends alone" not in done.stderr


@needs_mpi
def test_a_process_may_end_with_calls_that_it_never_waited_for():
    done = mpiexec("forget", 2)
    assert (done.returncode, done.stdout.count("right")) == (0, 2), done.stdout + done.stderr


@needs_mpi
def test_a_call_that_a_process_never_waited_for_ends_before_the_process():
    done = mpiexec("unwaited")
    assert (done.returncode, done.stdout.count("right")) == (0, 2), done.stdout + done.stderr


@needs_mpi
def test_calls_on_several_meshes_end_together_when_the_processes_do():
    done = mpiexec("crossed")  # which would raise: no call may last until its time limit
    assert (done.returncode, done.stdout.count("right")) == (0, 3), done.stdout + done.stderr


@needs_mpi
def test_a_process_does_not_wait_at_its_end_for_others_that_have_ended():
    done = mpiexec("alone", 2)  # which would raise, too
    assert done.stdout.count("right") == 2, done.stdout + done.stderr


@needs_mpi
def test_mesh_in_another_order_is_named():
    done = mpiexec("orders")
    assert "rank 0: process 1 opens another mesh" in done.stdout
    assert "rank 2: process 1 opens another mesh" in done.stdout


@needs_mpi
def test_stalled_rank_is_late_on_every_survivor():
    done = mpiexec("stall")
    assert len(re.findall(r"rank [02]: late 1 in time=True", done.stdout)) == 2, done.stdout + done.stderr
    assert "rank 1: late 1" in done.stdout


@needs_mpi
def test_job_ends_although_a_rank_never_comes_back():
    done = mpiexec("hang", 2)
    assert "rank 0: late 1 in time=True" in done.stdout, done.stdout + done.stderr
    assert "process 0 ends alone" in done.stderr
    assert done.returncode != 0


@needs_mpi
def test_rank_that_ends_with_an_error_is_named_at_once():
    done = mpiexec("leave")  # which would raise, too
    assert "rank 1 has had enough" in done.stderr
    assert len(re.findall(r"rank [02]: left 1 .* after 1 call;", done.stdout)) >= 1, done.stdout + done.stderr
    assert done.returncode != 0


@needs_mpi
def test_death_ends_the_job_and_its_reason_is_printed():
    done = mpiexec("die")
    assert done.returncode != 0
    assert "signal 9" in done.stderr


@needs_mpi
def test_survivors_of_a_fault_tolerant_launch_get_the_error():
    if not tolerates_faults():
        pytest.skip("this MPI has no fault-tolerant mode")
    done = mpiexec("die", 3, "--with-ft", "ulfm")
    assert len(re.findall(r"rank [02]: died 1 in time=True: .*rank 1 died", done.stdout)) == 2, (
        done.stdout + done.stderr
    )
    assert done.stdout.count("again: True") == 2


SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "MPI_LOCALNRANKS")
LAUNCHERS = (*SIZES, "PMIX_RANK", "PMI_RANK")


@pytest.fixture
def nowhere(monkeypatch):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_program_without_a_launcher_has_no_communicator(nowhere):
    assert launch.processes() is None
    assert tuple(opmux_communicators()) == ()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"OMPI_COMM_WORLD_SIZE": "4"}, 4),
        ({"PMI_SIZE": "2"}, 2),
        ({"PMI_SIZE": "many"}, None),
        ({"SLURM_STEP_NUM_TASKS": "8"}, None),
        ({"SLURM_STEP_NUM_TASKS": "8", "PMIX_RANK": "0"}, 8),
        ({"MV2_COMM_WORLD_SIZE": "3"}, 3),
        ({"MPI_LOCALNRANKS": "3"}, 3),
        ({"MPI_LOCALNRANKS": "2", "PMI_SIZE": "4"}, 4),
    ],
)
def test_launchers_are_recognised(nowhere, given, found):
    for name, value in given.items():
        nowhere.setenv(name, value)
    assert launch.processes() == found


def test_absent_mpi4py_says_what_to_install(nowhere):
    nowhere.setenv("OMPI_COMM_WORLD_SIZE", "4")
    nowhere.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(CollectiveError, match=r"4 processes were started .* pip install 'opmux\[mpi\]'") as raised:
        tuple(opmux_communicators())
    assert raised.value.cause == "absent"


_WITHOUT_MPI4PY = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "mpi4py" else found(name, *more)
"""


def _without_mpi4py(code, **environment):
    given = {**{k: v for k, v in os.environ.items() if k not in LAUNCHERS}, **environment}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_MPI4PY + code], env=given, capture_output=True, text=True, timeout=120
    )
    return done.stdout + done.stderr


def test_doctor_says_what_mpi_lacks():
    said = json.loads(_without_mpi4py("sys.argv = ['opmux', 'doctor', '--json']; import opmux.cli.main as m; m.main()"))
    (mpi,) = (b for b in said["backends"] if b["name"] == "mpi")
    assert mpi["state"] == "absent-hardware"
    assert "module mpi4py" in mpi["reason"]
    assert mpi["remedy"] == "pip install 'opmux[mpi]'"


def test_a_mesh_under_a_launcher_says_what_to_install_too():
    said = _without_mpi4py("import opmux as ox; ox.Mesh()", OMPI_COMM_WORLD_SIZE="4")
    assert "CollectiveError: Mesh: a launcher has started 4 processes" in said
    assert "pip install 'opmux[mpi]'" in said


def test_importing_opmux_and_the_backend_does_not_touch_mpi():
    code = "import sys, opmux, opmux.backends.mpi as m; list(m.opmux_communicators()); print('mpi4py' in sys.modules)"
    environment = {k: v for k, v in os.environ.items() if k not in LAUNCHERS}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
