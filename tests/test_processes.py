"""The limits that tests of whole commands rely on: what hangs or never ends is told, what is only slow is not."""

import sys

import pytest

from tests.helpers.processes import finish, processor_seconds, run, start


def test_output_and_exit_code_come_back():
    done = run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"])
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)


@pytest.mark.parametrize(
    ("code", "limit", "what"), [("import time; time.sleep(60)", 300, "hangs"), ("while True: pass", 0.2, "never ends")]
)
def test_a_command_that_does_not_end_is_told(code: str, limit: float, what: str):
    process = start([sys.executable, "-c", code])
    with pytest.raises(TimeoutError, match=what):
        finish(process, processor_limit=limit, look=1.0)
    assert process.returncode == -9
    assert processor_seconds(process.pid) == 0


def test_a_slow_command_may_take_its_time():
    slow = "import time\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass\nprint('done')"
    assert finish(start([sys.executable, "-c", slow]), look=0.1) == ("done\n", "")
