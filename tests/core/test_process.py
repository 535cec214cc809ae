"""The package leaves a process that imports it as it was; programs prepare their own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

IMPORTS = """
import logging, os, sys, warnings
environment, filters = dict(os.environ), list(warnings.filters)
import bavos_core
assert filters == warnings.filters
assert not {"torch", "PIL", "numpy"} & set(sys.modules)
assert set(bavos_core.__all__) <= set(dir(bavos_core))
import numpy  # has filters of its own
filters = list(warnings.filters)
bavos_core.open_clip
assert "PIL" in sys.modules
assert dict(os.environ) == environment
assert filters == warnings.filters
assert not logging.getLogger("PIL").handlers
"""

PREPARES = """
import os, sys, warnings
from bavos_io.process import prepare_process
prepare_process()
assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
assert "torch" not in sys.modules
exec(compile("import warnings; warnings.warn('odd', RuntimeWarning)", "x", "exec"),
     {"__name__": "PIL.Image"})
os.environ["OMP_WAIT_POLICY"] = "ACTIVE"
prepare_process()
assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
"""


def check_runs_silently(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_the_package_loads_and_changes_nothing() -> None:
    check_runs_silently(IMPORTS)


def test_a_program_prepares_its_process_before_torch_and_keeps_what_is_set() -> None:
    check_runs_silently(PREPARES)
