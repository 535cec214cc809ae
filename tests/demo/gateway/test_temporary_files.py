"""The files of a server in a process of its own: where they are, and what happens without them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from demo.store import GONE
from experiments.server import free_port

ROOT = Path(__file__).resolve().parents[3]


class Server(NamedTuple):
    process: subprocess.Popen[str]
    address: str
    temporary: Path
    log: Path

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`python app.py` with a temporary folder of its own."""
    temporary, port = tmp_path_factory.mktemp("own"), free_port()
    log = tmp_path_factory.mktemp("log") / "log.txt"
    env = os.environ | {
        "TMPDIR": str(temporary), "BAVOS_BACKBONE": "descriptors", "BAVOS_WARM_UP": "0",
        "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "PYTHONUNBUFFERED": "1",
        "GRADIO_SERVER_PORT": str(port),
    }  # fmt: skip
    for name in ("GRADIO_TEMP_DIR", "TORCHINDUCTOR_CACHE_DIR"):
        env.pop(name, None)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=env, text=True,
            stdout=subprocess.PIPE, stderr=output,
        )  # fmt: skip
        assert process.stdout
        assert any("Running on" in line for line in process.stdout)
        yield Server(process, f"http://127.0.0.1:{port}/", temporary, log)
        process.kill()
        process.wait()


def test_everything_is_in_one_folder_which_may_vanish_and_goes_in_the_end(
    own: Server, small_clip: Path, tmp_path: Path
) -> None:
    client = Client(
        own.address, verbose=False, download_files=str(tmp_path), analytics_enabled=False
    )
    asked = (handle_file(small_clip), "descriptors", 2, 48)
    before = client.predict(*asked, api_name="/segment")[0]["result"]
    (folder,) = own.temporary.iterdir()
    assert folder.name.startswith("bavos-")
    assert {path.name for path in folder.iterdir()} >= {"gradio", ".in-use"}

    shutil.rmtree(folder)
    for call in ((before, 2, "/export"), (before, 2, 0, "/cut"), (before, 2, "/html")):
        with pytest.raises(AppError) as caught:
            client.predict(*call[:-1], api_name=call[-1])
        assert str(caught.value) == GONE
    again, overlay = client.predict(*asked, api_name="/segment")
    assert Path(overlay["video"] if isinstance(overlay, dict) else overlay).stat().st_size
    assert client.predict(again["result"], 2, api_name="/export")
    assert client.predict(again["result"], 2, api_name="/html")
    assert {path.name for path in own.temporary.iterdir()} == {folder.name}

    client.close()
    assert own.stop() == 0
    assert list(own.temporary.iterdir()) == []
    assert "Traceback" not in own.log.read_text()
