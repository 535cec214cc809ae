"""What leaves a server whose correlator comes from an address with a password and a token."""

import functools
import io
import json
import logging
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import event_loops
import httpx
import pytest
import torch
from gradio_client import Client, handle_file
from mcp import Client as McpClient

from bavos_core import InputError
from bavos_core.correlator import TrainedCorrelator, untrained
from bavos_io.download import local_file, shown
from bavos_lab.training import write_correlator
from demo import recipe
from demo.page import build
from demo.server import launch_options
from demo.service import Service
from demo.settings import DemoSettings

PASSWORD, TOKEN = "pa55word-of-the-operator", "t0ken-of-the-operator"
CHANNELS = 24  # of the backbone descriptors


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def source(tmp_path: Path, monkeypatch) -> Iterator[str]:
    """The address of a correlator, with secrets, on this machine."""
    folder = tmp_path / "folder-of-the-operator"
    folder.mkdir()
    block = TrainedCorrelator(
        untrained(CHANNELS, seed=1), torch.zeros(CHANNELS), torch.ones(CHANNELS)
    )
    write_correlator(folder / "block.safetensors", block)
    monkeypatch.setenv("TORCH_HOME", str(folder / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        place = f"127.0.0.1:{server.server_port}/block.safetensors"
        yield f"http://operator:{PASSWORD}@{place}?token={TOKEN}#{TOKEN}"
        server.shutdown()
        thread.join()


def inside(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a file and of all files inside it."""
    yield name, content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from inside(f"{name}/{member}", archive.read(member))


def check_all(told: dict[str, bytes], *hidden: str) -> None:
    found = {
        name: secret
        for outer, content in told.items()
        for name, part in inside(outer, content)
        for secret in (PASSWORD, TOKEN, "operator:", *hidden)
        if secret.encode() in part
    }
    assert found == {}


def test_no_answer_no_file_and_no_log_holds_a_secret(
    source, small_clip: Path, tmp_path, monkeypatch, caplog
) -> None:
    caplog.set_level(logging.INFO)
    service = Service(DemoSettings(backbone="descriptors", correlator=source, max_frames=3))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(service.store.cache))
    page = build(service)
    _, address, _ = page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options(service)
    )
    try:
        told = everything(service, address, small_clip, tmp_path)
    finally:
        page.close(verbose=False)
        service.close()
    folder = str(tmp_path / "folder-of-the-operator")
    check_all(told, folder)
    assert any("block.safetensors" in text.decode(errors="ignore") for text in told.values())
    check_all({"log": caplog.text.encode()}, folder)
    for name in ("summary.json", "masks.json", "code", "analysis.npz"):
        assert any(name in key for key in told), told.keys()


def everything(service: Service, address: str, clip: Path, room: Path) -> dict[str, bytes]:
    """What a stranger can get: answers, files, parts and the page; and a saved analysis."""
    client = Client(address, verbose=False, download_files=str(room / "got"))
    summary, overlay = client.predict(handle_file(clip), "descriptors", 3, 192, api_name="/segment")
    key = summary["result"]
    answers = {
        "segment": summary,
        "cut": client.predict(key, 3, 0, api_name="/cut")[0],
        "attend": client.predict(key, 0, 9, 9, -1, "correlator", True, api_name="/attend")[0],
        "mcp": event_loops.run(by_mcp, address, key),
    }
    told = {name: json.dumps(answer).encode() for name, answer in answers.items()}
    files = [*client.predict(key, 3, api_name="/export"), client.predict(key, 3, api_name="/html")]
    told |= {Path(path).name: Path(path).read_bytes() for path in (*files, overlay)}
    for path in ("", "config", "gradio_api/info", f"?result={key}", f"gradio_api/bavos/{key}/base"):
        told[f"GET {path}"] = httpx.get(address + path, timeout=60).content
    client.close()
    result, cut = service.cut(key, 3)
    told["code"] = recipe.code(result, cut, (), address).encode()
    result.analysis.save(room / "analysis.npz")
    told["analysis.npz"] = (room / "analysis.npz").read_bytes()
    return told


async def by_mcp(address: str, key: str) -> str:
    async with McpClient(f"{address}gradio_api/mcp") as client:
        answers = [await client.call_tool(name, {"result": key}) for name in ("cut", "export")]
        return " ".join(answer.model_dump_json() for answer in answers)


@pytest.mark.parametrize(
    "url",
    [
        f"http://operator:{PASSWORD}@127.0.0.1:9/x.pth?token={TOKEN}",
        f"http://operator:{PASSWORD}/{TOKEN}@127.0.0.1/x.pth",
        f"http://operator:{PASSWORD}#@127.0.0.1/x.pth",
        f"http://operator:{PASSWORD}@[127.0.0.1/x.pth",
        f"ftp://operator:{PASSWORD}@127.0.0.1/x.pth?token={TOKEN}",
        f"https://operator:{PASSWORD}@127.0.0.1:0/x.pth",
        f"http://operator:{PASSWORD}@127.0.0.1:99999/x.pth?{TOKEN}",
    ],
)
def test_what_is_said_of_a_failed_download_holds_no_secret(url, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "folder-of-the-operator"))
    with pytest.raises(InputError) as caught:
        local_file(url)
    check_all({"message": str(caught.value).encode(), "shown": shown(url).encode()}, str(tmp_path))


def test_a_file_is_shown_by_its_name() -> None:
    for path in ("/home/operator/block.pth", Path("/home/operator/block.pth"), "block.pth"):
        assert shown(path) == "block.pth"
    assert shown("cross-frame") == "cross-frame"
    assert shown("https://host/some/block.pth?x=1#y") == "https://host/some/block.pth"
