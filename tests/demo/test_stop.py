"""The server, as `python app.py` starts it, asked to stop while it analyses its examples."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to catch")
def test_a_server_that_is_stopped_while_it_warms_up_ends_well_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    env = os.environ | {
        "TMPDIR": str(tmp_path), "BAVOS_BACKBONE": "descriptors",
        "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert server.stdout
    said = []
    for line in server.stdout:
        said.append(line)
        if "Running on" in line:
            break
    server.send_signal(signal.SIGTERM)
    said.append(server.communicate(timeout=60)[0])
    assert server.returncode == 0, "".join(said)
    assert "terminate" not in "".join(said)
    assert "Traceback" not in "".join(said)
    assert list(tmp_path.glob("bavos-*")) == []
