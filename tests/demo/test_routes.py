"""What the viewer asks for by plain HTTP, from a server that really runs."""

import gzip
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import numpy as np
import pytest

from bavos_core import Analysis
from bavos_lab import scene
from bavos_lab.scene.base import VERSION
from demo import parts, strings
from demo.examples import ARRIVES, example_path
from demo.presets import Preset
from demo.routes import routes
from demo.service import Service
from demo.settings import DemoSettings
from demo.store import GONE, Result

SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "arrival"
LARGEST = 3_000_000  # bytes of what is shipped


@pytest.fixture(scope="module")
def result(served: Service, small_clip: Path) -> Result:
    """Three of the four frames of the small clip, analysed."""
    return served.segment(str(small_clip), "descriptors", Preset(3, 192), lambda *_: None)


@pytest.fixture(scope="module")
def get(server: str, result: Result):
    """Asks for something of the result."""

    def answer(what: str, of: str = result.id, **asked: object) -> httpx.Response:
        return httpx.get(f"{server}gradio_api/bavos/{of}/{what}", params=asked, timeout=60)

    return answer


def test_every_part_arrives_as_the_scene_gives_it(get, result: Result) -> None:
    for name in scene.Scene(result.analysis).names:
        answer = get(name)
        assert answer.status_code == 200, name
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["cache-control"].startswith("private")
        assert "immutable" in answer.headers["cache-control"]
        assert "content-encoding" not in answer.headers
        assert scene.unpack(answer.content)[1]
    assert scene.unpack(get("base").content)[0]["clusters"] == result.analysis.segment().cut


def test_frames_in_between_come_too(get, result: Result) -> None:
    (index,) = parts.between(result)
    answer = get(f"frame/{index}")
    assert answer.status_code == 200
    assert scene.unpack(answer.content)[1]["leaf"].shape == (96, 128)


@pytest.mark.parametrize(
    "name", ["", "bas", "base/", "frame/99", "frame/-1", "frame/x", "attention/none"]
)
def test_a_part_that_there_is_not_is_one_sentence(get, name) -> None:
    answer = get(name)
    assert answer.status_code == 404
    if name:  # without one it is another address
        assert answer.text.endswith(".") and "\n" not in answer.text


@pytest.mark.parametrize("key", ["x" * 32, ".."])
def test_a_result_that_there_is_not_is_gone(get, key) -> None:
    answer = get("base", of=key)
    assert answer.status_code in (404, 410)
    assert key.startswith(".") or answer.text == GONE


def test_exact_numbers_are_those_of_the_analysis(get, result: Result) -> None:
    answer = get("exact", sample=1, y=40 / 96, x=60 / 128, source="key-similarity", head=-1)
    expected = result.analysis.attend(1, 40, 60, source="key-similarity")
    np.testing.assert_allclose(answer.json()["row"], expected.ravel(), rtol=1e-5)
    for wrong in ({}, {"sample": 1, "y": "a", "x": 0}, {"sample": 99, "y": 0, "x": 0}):
        answer = get("exact", **{"source": "key-similarity", **wrong})
        assert answer.status_code == 400
        assert answer.text.endswith(".")


def test_the_html_file_is_sent_in_the_state_that_was_asked_for(server, result) -> None:
    address = f"{server}gradio_api/bavos/{result.id}/html"
    answer = httpx.post(address, json={"n": 5, "edits": []}, timeout=60)
    assert answer.status_code == 200
    assert "small.html" in answer.headers["content-disposition"]
    assert '"n": 5' in answer.text
    for wrong in (b"{", b"[]", b'{"n": null}'):
        answer = httpx.post(address, content=wrong)
        assert answer.status_code == 400
        assert answer.text.endswith(".")
    answer = httpx.post(address, content=b'"' + b"x" * 300_000 + b'"')
    assert answer.text == strings.BAD_STATE


def test_it_works_under_a_root_path_too(served: Service, result: Result) -> None:
    with gr.Blocks() as blocks:
        gr.HTML("")
    kwargs = {"routes": routes(served)}
    _, address, _ = blocks.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, app_kwargs=kwargs,
        root_path="/some/where",
    )  # fmt: skip
    for path in ("", "some/where/"):
        answer = httpx.get(f"{address}{path}gradio_api/bavos/{result.id}/base")
        assert answer.status_code == 200
    blocks.close(verbose=False)


@pytest.mark.parametrize(
    "body", [b"[1]", b"{", b"", b'{"time": NaN}', b'{"name": "' + b"x" * 300_000 + b'"}']
)
def test_a_state_that_is_none_is_refused_in_a_sentence(server, result: Result, body) -> None:
    address = f"{server}gradio_api/bavos/{result.id}/html"
    for content in (body, iter([body])):  # with its length, and without
        answer = httpx.post(address, content=content, timeout=20)
        assert answer.status_code == 400
        assert answer.text == strings.BAD_STATE


# ---- in the background --------------------------------------------------------------------------


@pytest.fixture
def own(small_clip: Path) -> Iterator[Service]:
    made = Service(DemoSettings(backbone="descriptors", max_frames=2))
    yield made
    made.close()


@pytest.fixture
def put(own: Service, tiny_analysis: Analysis, small_clip: Path):
    """Stores a result of which two frames were analysed, without the frames in between."""
    own.parts.fill, fill = lambda _: None, own.parts.fill
    found = own.segment(str(small_clip), "descriptors", Preset(2, 192), lambda *_: None)
    own.parts.fill = fill
    return found


def until(true, seconds: float = 20) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def test_frames_in_between_give_way_to_an_analysis(own: Service, put: Result) -> None:
    names = [f"frame/{index}" for index in parts.between(put)]
    with own.jobs.lane.turn("another"):
        own.parts.fill(put)
        time.sleep(0.5)
        for name in names:
            with pytest.raises(parts.NotYet):
                own.parts.get(put.id, name)
    size = put.nbytes
    assert until(lambda: put.id not in own.parts._under_way)
    assert all(own.parts.get(put.id, name) for name in names)
    assert put.nbytes > size  # they count


def test_the_newest_result_has_its_frames_first_and_the_others_go_on(
    own: Service, put: Result, small_clip: Path
) -> None:
    fill, own.parts.fill = own.parts.fill, lambda _: None
    newer = own.segment(str(small_clip), "descriptors", Preset(1, 192), lambda *_: None)
    with own.jobs.lane.turn("another"):
        fill(put)
        fill(newer)
    assert until(lambda: not own.parts._under_way)
    written = []
    for result in (newer, put):
        assert all(own.parts.get(result.id, f"frame/{i}") for i in parts.between(result))
        with own.store.room(result) as room:
            files = [room / "parts" / f"frame/{i}.gz" for i in parts.between(result)]
            written.append([path.stat().st_mtime_ns for path in files])
    assert max(written[0]) <= min(written[1])


def test_the_work_ends_when_the_result_goes(own: Service, put: Result, caplog) -> None:
    with own.jobs.lane.turn("another"):
        own.parts.fill(put)
        time.sleep(0.3)
        own.delete(put.id)
    assert until(lambda: not own.parts._under_way)
    assert not list(own.store.root.glob("*/clip.mp4"))
    assert not caplog.records


def test_the_work_ends_when_the_server_closes(own: Service, put: Result) -> None:
    with own.jobs.lane.turn("another"):
        own.parts.fill(put)
        worker = own.parts._worker
        own.close()
    assert worker and not worker.is_alive()


def test_a_request_for_a_frame_to_come_waits_only_so_long(
    server, served: Service, result: Result, monkeypatch
) -> None:
    monkeypatch.setattr("demo.routes._PATIENCE", 0.3)
    served.parts._under_way.add(result.id)
    answer = httpx.get(f"{server}gradio_api/bavos/{result.id}/frame/77", timeout=20)
    served.parts._under_way.discard(result.id)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.text == strings.NOT_YET


def test_a_part_is_made_once_however_many_ask(own: Service, put: Result, monkeypatch) -> None:
    made: list[str] = []
    whole = scene.Scene.part

    def part(self, name: str) -> bytes:
        made.append(name)
        return whole(self, name)

    monkeypatch.setattr(scene.Scene, "part", part)
    threads = [threading.Thread(target=own.parts.get, args=(put.id, "readings")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["readings"]


def test_a_long_clip_is_thinned_out(put: Result) -> None:
    times = np.arange(36_000) / 30
    long = Result(**{**vars(put), "analysis": _Long(times, put.analysis.analysed)})
    found = parts.between(long)
    assert 1000 < len(found) <= 1200
    assert len(set(np.diff(found))) <= 3


class _Long:
    """As much of an analysis as counts here."""

    def __init__(self, times: np.ndarray, analysed: np.ndarray):
        self.times, self.analysed = times, analysed


# ---- what is shipped ----------------------------------------------------------------------------


def test_what_is_shown_on_arrival_was_made_from_the_example_in_this_format(get) -> None:
    about = json.loads((SHIPPED / "arrival.json").read_text(encoding="utf-8"))
    assert about["example"] == ARRIVES
    clip = example_path(ARRIVES).read_bytes()
    assert about["sha256"] == hashlib.sha256(clip).hexdigest(), "run assets/make_arrival.py"
    fields, blobs = scene.unpack(get("base", of="arrival").content)
    assert about["version"] == fields["version"] == VERSION
    for index in range(len(blobs["times"])):
        assert get(f"frame/{index}", of="arrival").status_code == 200
    for source in fields["sources"]:
        part = "cross-frame" if source["name"] == "framewise" else source["name"]
        assert gzip.decompress(get(f"attention/{part}", of="arrival").content)
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*.*")) <= LARGEST
    assert get("frame/40", of="arrival").status_code == 404
