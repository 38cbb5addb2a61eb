"""Commands in processes of their own, with limits that a busy machine does not reach.

A limit on the wall clock fails when others use the machine. These limits are on processor time: a command fails that
uses hardly any for a while (it hangs), or far too much (it never ends). Linux only.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
# Seconds of wall clock between two looks; a running process gets far more than 1 % of them.
LOOK = 60.0
LEAST_SHARE = 0.01


def run(command: Sequence[str], *, processor_limit: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as `subprocess.run` with captured text does."""
    process = start(command, **options)
    stdout, stderr = finish(process, processor_limit=processor_limit)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, start_new_session=True, **pipes, **options)


def finish(process: "subprocess.Popen[str]", *, processor_limit: float = 300, look: float = LOOK) -> tuple[str, str]:
    """Wait for a command of `start`; kill it and raise TimeoutError where it hangs or never ends."""
    used = 0.0
    while True:
        try:
            return process.communicate(timeout=look)
        except subprocess.TimeoutExpired:
            before, used = used, processor_seconds(process.pid)
        if used > processor_limit or used - before < LEAST_SHARE * look:
            os.killpg(process.pid, signal.SIGKILL)
            _, stderr = process.communicate()
            what = "never ends" if used > processor_limit else "hangs"
            raise TimeoutError(f"{process.args} {what}: {used:.1f} s of processor time\n{stderr}")


def processor_seconds(group: int) -> float:
    """Return what a group's processes, and the children they waited for, have used so far."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        # The process has ended meanwhile.
        except OSError:
            continue
        if int(fields[2]) == group:
            total += sum(map(int, fields[11:15]))
    return total / TICKS
