"""Two processes never write one folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from offline_actrep.files.alone import hold

HOLDER = """
import sys, time
from pathlib import Path
from offline_actrep.files.alone import hold
hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such lock there")
def test_who_comes_second_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=r"expected to be alone.*To mend it: wait for it"):
            hold(tmp_path)
        other.kill()
        other.wait()
        os.close(hold(tmp_path))
