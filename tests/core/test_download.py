"""Weights by URL, from a real server on this machine: whole files only, each fetched once."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save

from bavos_core import InputError, Settings, analyse, backbones, cli
from bavos_core.backbones.timm_vit import create
from bavos_core.correlator import TrainedCorrelator, read_correlator, untrained
from bavos_io import download
from bavos_io.download import direct_address, file_or_url, local_file
from bavos_lab.training.files import write_correlator

from .helpers import check_message, make_video

WEIGHTS = save({"x": torch.arange(5000.0)})
NAME = "vit_tiny_patch16_224"  # the smallest registered ViT: 192 channels


class Answer(NamedTuple):
    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()  # beside or in place of the true ones


class Server(ThreadingHTTPServer):
    """Gives each path its answer, 404 to others, and remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.seen: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        answer = self.server.answers.get(self.path.partition("?")[0])
        if answer is None:
            self.send_error(404)
            return
        self.send_response(answer.status)
        for header in ({"Content-Length": str(len(answer.body))} | dict(answer.headers)).items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, no failures before, and no proxy on the way to this machine."""
    monkeypatch.setattr(download, "_failures", {})
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


def kept(cache: Path) -> list[str]:
    """Names of all files and folders in the cache but its lock."""
    folder = cache / "hub" / "bavos"
    return sorted(path.name for path in folder.rglob("*") if path.name != ".lock")


def check_refused(url: str, cache: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        local_file(url)
    check_message(caught.value, *words)
    assert kept(cache) == []


# ---- files that arrive --------------------------------------------------------------------------


def test_a_path_stays_what_it_is() -> None:
    for path in ("some/x.pth", Path("some/x.pth")):
        assert local_file(path) == file_or_url(str(path)) == Path("some/x.pth")


def test_a_file_is_fetched_whole_and_once(server, cache) -> None:
    server.answers["/a/x.safetensors"] = Answer(WEIGHTS)
    url = server.url("/a/x.safetensors")
    shares: list[float] = []
    path = local_file(url, progress=shares.append)
    assert path.name == "x.safetensors"
    assert path.is_relative_to(cache)
    assert path.read_bytes() == WEIGHTS
    assert shares[-1] == 1
    assert shares == sorted(shares)
    server.shutdown()
    server.server_close()
    assert local_file(url) == path
    assert server.seen == ["/a/x.safetensors"]
    assert kept(cache) == sorted([path.parent.name, "x.safetensors"])


def test_files_of_one_name_do_not_mix(server) -> None:
    other = save({"y": torch.ones(3)})
    server.answers |= {"/a/x.pth": Answer(WEIGHTS), "/b/x.pth": Answer(other)}
    found = [local_file(server.url(f"/{place}/x.pth")) for place in "ab"]
    assert [path.read_bytes() for path in found] == [WEIGHTS, other]
    again = local_file(server.url("/a/x.pth?version=2"))
    assert again not in found
    assert again.name == "x.pth"


def test_callers_at_the_same_time_fetch_once(server) -> None:
    server.answers["/x.pth"] = Answer(WEIGHTS)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(local_file(server.url("/x.pth"))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert server.seen == ["/x.pth"]


def test_redirects_are_followed(server) -> None:
    server.answers["/old/x.pth"] = Answer(b"", 302, (("Location", "/new"),))
    server.answers["/new"] = Answer(WEIGHTS)
    path = local_file(server.url("/old/x.pth"))
    assert path.name == "x.pth"
    assert path.read_bytes() == WEIGHTS


@pytest.mark.parametrize("end", ["", "/", "/..", "/.hidden", "/%2e%2e%2fx", "/" + 300 * "x"])
def test_no_address_leads_out_of_the_cache(end, server, cache) -> None:
    server.answers |= {path: Answer(WEIGHTS) for path in ("/a" + end, "/a/", "/")}
    path = local_file(server.url("/a" + end))
    assert path.resolve().parents[1] == (cache / "hub" / "bavos").resolve()
    assert path.read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    "link",
    [
        "https://drive.google.com/file/d/1Uh_S-p/view?usp=sharing",
        "https://drive.google.com/open?id=1Uh_S-p",
        "https://drive.google.com/uc?export=download&id=1Uh_S-p",
        "https://drive.usercontent.google.com/download?id=1Uh_S-p&export=download&confirm=t",
    ],
)
def test_a_share_link_of_google_drive_becomes_a_download(link) -> None:
    assert direct_address(link) == (
        "https://drive.usercontent.google.com/download?id=1Uh_S-p&export=download&confirm=t"
    )


def test_other_addresses_stay() -> None:
    for url in ("https://host/file/d/1Uh/view", "https://drive.google.com/"):
        assert direct_address(url) == url


# ---- files that do not ------------------------------------------------------------------------


def test_an_absent_file_is_refused(server, cache) -> None:
    check_refused(server.url("/x.pth"), cache, server.url("/x.pth"), "404 Not Found", "address")


def test_an_address_that_failed_is_asked_again_after_a_minute(server, cache, monkeypatch) -> None:
    url = server.url("/late.safetensors")
    for _ in range(3):
        with pytest.raises(InputError, match="answered 404"):
            local_file(url)
    assert server.seen == ["/late.safetensors"]
    server.answers["/late.safetensors"] = Answer(WEIGHTS)
    monkeypatch.setattr(download, "KEEP_SECONDS", 0.0)
    assert local_file(url).read_bytes() == WEIGHTS


def test_callers_who_waited_for_a_failure_do_not_repeat_it(server, cache) -> None:
    said: list[str] = []

    def ask() -> None:
        with pytest.raises(InputError) as caught:
            local_file(server.url("/absent.pth"))
        said.append(str(caught.value))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 4
    assert len(set(said)) == 1
    assert server.seen == ["/absent.pth"]


def test_a_body_that_ends_too_early_is_refused(server, cache) -> None:
    server.answers["/x.pth"] = Answer(WEIGHTS, headers=(("Content-Length", "50000"),))
    check_refused(server.url("/x.pth"), cache, "could not be downloaded", "50000")


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><title>Sign in</title>", b"", b'{"error": 1}'])
def test_what_is_no_weights_file_is_refused(body, server, cache) -> None:
    server.answers["/x.safetensors"] = Answer(body)
    check_refused(server.url("/x.safetensors"), cache, "no weights file", "web page")


def test_a_server_that_cannot_be_reached_is_an_error(cache) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x.pth"
        check_refused(url, cache, url, "could not be downloaded", "network")


@pytest.mark.parametrize(
    "url", ["ftp://host/x.pth", "file:///etc/x.pth", "s3://bucket/x.pth", "https://", "http:///x"]
)
def test_other_kinds_of_address_are_refused(url, cache) -> None:
    check_refused(url, cache, "http or https")


@pytest.mark.parametrize("url", ["http://[::1/x.pth", "http://127.0.0.1:99999999/x.pth"])
def test_malformed_addresses_are_refused(url, cache) -> None:
    check_refused(url, cache, "address")


def test_a_redirect_to_a_local_file_is_refused(server, cache) -> None:
    server.answers["/x.pth"] = Answer(b"", 302, (("Location", "file:///etc/hostname"),))
    check_refused(server.url("/x.pth"), cache, "could not be downloaded")


def test_messages_keep_passwords_and_queries_to_themselves(server, cache) -> None:
    url = server.url("/x.pth?token=secret").replace("http://", "http://me:secret@")
    with pytest.raises(InputError) as caught:
        local_file(url)
    assert "secret" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_an_error(server, cache) -> None:
    server.answers["/x.pth"] = Answer(WEIGHTS)
    cache.write_text("a file where the folder should be")
    with pytest.raises(InputError) as caught:
        local_file(server.url("/x.pth"))
    check_message(caught.value, "x.pth", "TORCH_HOME")


def test_a_stopped_download_leaves_nothing(server, cache) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    server.answers["/x.pth"] = Answer(WEIGHTS)
    with pytest.raises(KeyboardInterrupt):
        local_file(server.url("/x.pth"), progress=stop)
    assert kept(cache) == []


# ---- where a path is taken ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoder and block in one file, as the reference lays it out."""
    torch.manual_seed(3)
    encoder = create(NAME).state_dict()
    block = untrained(192, seed=3).state_dict()
    state = {f"encoder.{name}": tensor for name, tensor in encoder.items()}
    state |= {f"temporal_transformer.0.{name}": tensor for name, tensor in block.items()}
    path = tmp_path_factory.mktemp("reference") / "checkpoint_dino-s-8.pth"
    torch.save({"iteration": 1, "model_state_dict": state, "loss": torch.tensor(0.5)}, path)
    return path


def check_holds(model: torch.nn.Module, checkpoint: Path, prefix: str) -> None:
    expected = torch.load(checkpoint)["model_state_dict"]
    assert all(torch.equal(v, expected[prefix + k]) for k, v in model.state_dict().items())


def test_one_reference_checkpoint_gives_encoder_and_block(checkpoint) -> None:
    check_holds(backbones.load(NAME, weights=checkpoint).model, checkpoint, "encoder.")
    check_holds(read_correlator(checkpoint).block, checkpoint, "temporal_transformer.0.")


def test_one_url_gives_encoder_and_block(server, checkpoint) -> None:
    server.answers["/checkpoint"] = Answer(checkpoint.read_bytes())
    url = server.url("/checkpoint")
    settings = Settings(
        backbone=NAME, weights=url, correlator=url, size=(32, 48), device="cpu", precision="fp32"
    )
    clip = np.zeros((2, 32, 48, 3), np.uint8)
    analysis = analyse(clip, settings)
    assert analysis.source == "correlator"
    assert analysis.correlator is not None
    check_holds(analysis.correlator.block, checkpoint, "temporal_transformer.0.")
    check_holds(backbones.load(NAME, weights=url).model, checkpoint, "encoder.")
    assert server.seen == ["/checkpoint"]


def segment(folder: Path, out: Path) -> list[str]:
    """The command for a tiny clip."""
    clip = make_video(folder / "clip.mp4", "-pix_fmt", "yuv420p")
    options = ("--backbone", "descriptors", "--frames", "2", "--size", "48x64", "--device", "cpu")
    return ["segment", str(clip), "--out", str(out), *options]


def test_a_file_of_ours_can_be_given_by_url_on_the_command_line(server, tmp_path, capsys) -> None:
    block = TrainedCorrelator(untrained(24, seed=1), torch.zeros(24), torch.ones(24))
    write_correlator(tmp_path / "block.safetensors", block)
    server.answers["/get"] = Answer((tmp_path / "block.safetensors").read_bytes())
    out, url = tmp_path / "out", server.url("/get?name=block")
    assert cli.main([*segment(tmp_path, out), "--correlator", url]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["correlator"] == server.url("/get")


def test_a_url_that_gives_nothing_ends_with_status_2_and_one_line(server, tmp_path, capsys) -> None:
    url = server.url("/x.pth")
    for option in ("--weights", "--correlator"):
        assert cli.main([*segment(tmp_path, tmp_path / "out"), option, url]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
