"""A run in which a test was left out fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = {
    "skip": "import pytest\ndef test_it(): pytest.skip('no time')",
    "mark": "import pytest\n@pytest.mark.skipif(True, reason='no time')\ndef test_it(): pass",
    "xfail": "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False",
    "xpass": "import pytest\n@pytest.mark.xfail\ndef test_it(): pass",
    "import": "import pytest\npytest.importorskip('no_such_module')\ndef test_it(): pass",
}


@pytest.mark.parametrize("processes", [(), ("-n", "2", "--dist", "loadfile")])
def test_left_out_tests_fail_the_run(tmp_path, processes):
    (tmp_path / "conftest.py").write_text(Path(__file__).with_name("conftest.py").read_text())
    for case, text in {**CASES, "pass": "def test_it(): pass"}.items():
        (tmp_path / f"test_{case}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist.plugin", *processes, "--import-mode=importlib",
               "--continue-on-collection-errors"]
    # Without the other plugins that happen to be installed, it starts in a second.
    quick = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*command, f"--rootdir={tmp_path}", str(tmp_path)], capture_output=True, text=True,
                          cwd=tmp_path, env=quick, check=False)
    assert done.returncode == 1, done.stdout
    assert "3 failed, 1 passed, 2 errors" in done.stdout.splitlines()[-1]
    for case in CASES:
        assert f"every test must run; test_{case}.py" in done.stdout
