"""MCP with the official client, against a server that really runs."""

import base64
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import event_loops
import httpx
import httpx2
import numpy as np
import pytest
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo import strings
from demo.examples import example_path
from demo.service import Service
from demo.tools import Mounted
from experiments.soak import write_clip

SMALL = {"backbone": "descriptors", "frames": 2, "patches": 48}
LEGACY, MODERN = "legacy", "auto"


@pytest.fixture(scope="module")
def uploaded(server: str, small_clip: Path) -> str:
    """The path that an upload gives, as `curl -F files=@…` prints it."""
    sent = {"files": ("small.mp4", small_clip.read_bytes())}
    return httpx.post(f"{server}gradio_api/upload", files=sent).json()[0]


def run(
    server: str, work: Callable[[Client], Awaitable[Any]], mode: str = LEGACY, of: str = "127.0.0.1"
) -> Any:
    """What a client of its own does, which has this address."""

    async def connected() -> Any:
        address = httpx2.AsyncHTTPTransport(local_address=of)
        async with httpx2.AsyncClient(transport=address, timeout=300) as http:
            transport = streamable_http_client(f"{server}gradio_api/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                return await work(client)

    return event_loops.run(connected)


def call(server: str, name: str, mode: str = LEGACY, **values: Any) -> types.CallToolResult:
    return run(server, lambda client: client.call_tool(name, values), mode)


def sentence(result: types.CallToolResult) -> str:
    assert result.is_error
    (content,) = result.content
    text = content.text
    assert text.endswith(".") and "\n" not in text and len(text) <= 250, text
    assert "went wrong" not in text
    return text


@pytest.fixture(scope="module")
def segmented(server: str, uploaded: str) -> dict[str, Any]:
    return call(server, "segment", clip=uploaded, **SMALL).structured_content


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
def test_tools_say_what_they_take_and_answer(server, mode) -> None:
    async def listed(client: Client) -> list[types.Tool]:
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in run(server, listed, mode)}
    assert set(tools) == {
        "segment", "cut", "attend", "export", "html", "cancel", "delete", "upload"
    }  # fmt: skip
    assert all(tool.output_schema["properties"] for tool in tools.values())
    takes = tools["segment"].input_schema
    assert takes["required"] == ["clip"]
    backbone = takes["properties"]["backbone"]["description"]
    assert "dino-vits8" in backbone
    assert "bundled-vits14 (tuned on saliency labels)" in backbone
    assert "rolling-balls" in takes["properties"]["clip"]["description"]


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
def test_a_clip_goes_from_its_upload_to_its_files(server, small_clip, mode) -> None:
    shares: list[float] = []

    async def noted(share: float, _total: float | None, _doing: str | None) -> None:
        shares.append(share)

    async def work(client: Client) -> None:
        command = (await client.call_tool("upload", {})).structured_content["command"]
        address = command.split()[-1]
        sent = {"files": ("small.mp4", small_clip.read_bytes())}
        clip = httpx.post(address, files=sent).json()[0]
        made = await client.call_tool("segment", {"clip": clip, **SMALL}, progress_callback=noted)
        found = made.structured_content
        assert found["backbone"] == "descriptors"
        assert found["frames"] == 4
        check_picture(made)
        again = await client.call_tool(
            "segment", {"clip": f"{server}gradio_api/file={clip}", **SMALL}
        )
        assert again.structured_content["result"] != found["result"]
        key = found["result"]
        cut = await client.call_tool("cut", {"result": key, "n_clusters": 3})
        assert cut.structured_content["clusters"] == 3
        check_picture(cut)
        files = await client.call_tool("export", {"result": key, "n_clusters": 3})
        check_files(files, "bavos.zip", "summary.json")
        check_files(await client.call_tool("html", {"result": key}), "small.html")
        assert httpx.get(found["overlay"]).headers["content-type"] == "video/mp4"
        assert httpx.get(found["page"]).status_code == 200
        assert not (await client.call_tool("delete", {"result": key})).is_error
        gone = await client.call_tool("cut", {"result": key})
        assert "no longer exists" in sentence(gone)

    run(server, work, mode)
    assert shares and all(0 <= share <= 1 for share in shares)


def check_picture(answer: types.CallToolResult) -> None:
    (picture,) = (one for one in answer.content if one.type == "image")
    content = base64.b64decode(picture.data)
    assert len(content) < 100_000
    assert max(Image.open(io.BytesIO(content)).size) <= 640


def check_files(answer: types.CallToolResult, *names: str) -> None:
    files = {file["name"]: file["url"] for file in answer.structured_content["files"]}
    assert set(names) <= set(files)
    links = {str(one.uri) for one in answer.content if one.type == "resource_link"}
    assert links == set(files.values())
    for name in names:
        assert httpx.get(files[name]).content


def test_attention_is_told_in_short_and_in_full_on_request(server, segmented) -> None:
    asked = {"result": segmented["result"], "sample_index": 0, "y": 40, "x": 60}
    short = call(server, "attend", **asked)
    assert sum(len(part.text) for part in short.content if part.type == "text") < 3000
    found = short.structured_content
    assert sum(found["share"]) == pytest.approx(1, abs=1e-3)
    assert found["top"][0]["weight"] >= found["top"][1]["weight"] > 0
    check_picture(short)
    row = np.array(call(server, "attend", **asked, rows=True).structured_content["row"])
    assert row.shape == (2, *segmented["grid"])
    best = found["top"][0]
    assert row.max() == pytest.approx(best["weight"], abs=1e-6)
    assert row[best["sample_index"]].max() == row.max()


@pytest.mark.parametrize("prefix", ["data:video/mp4;base64,", ""])
def test_a_clip_sent_as_bytes_is_deleted_after_the_run(
    server, served: Service, example: Path, tmp_path, prefix
) -> None:
    write_clip(tmp_path / "own.mp4", 5)
    content = (tmp_path / "own.mp4").read_bytes()
    sent = prefix + base64.b64encode(content).decode()
    found = call(server, "segment", clip=sent, **SMALL).structured_content
    call(server, "delete", result=found["result"])
    left = [path for path in served.store.root.rglob("*") if path.is_file()]
    assert not [path for path in left if path.read_bytes() == content]


def test_an_example_is_named(server) -> None:
    found = call(server, "segment", clip="rolling-balls", **SMALL).structured_content
    assert found["frames"] == 40


@pytest.mark.parametrize(
    "clip",
    [
        None, 7, "", "no-such-example", "/etc/passwd", "../../etc/passwd", "file:///etc/passwd",
        "http://example.org/gradio_api/file=/etc/passwd", "{server}gradio_api/file=/etc/passwd",
        "{server}gradio_api/file={uploaded}/../../../../etc/passwd", "{cache}", "\0", "data:,x",
        "data:video/mp4;base64,!!!", "?" * 5000, str(example_path("rolling-balls")), "[[]]",
        "http://[", "{cache}/link",
    ],
)  # fmt: skip
def test_what_is_no_clip_of_this_server_is_refused_with_the_way_to_upload(
    server, served: Service, uploaded, clip, caplog
) -> None:
    link = served.store.cache / "link"
    if not link.is_symlink():
        link.symlink_to("/etc/passwd")
    if isinstance(clip, str):
        clip = clip.format(server=server, uploaded=uploaded, cache=served.store.cache)
    said = sentence(call(server, "segment", clip=clip, **SMALL))
    assert "clip is" in said
    assert not caplog.records
    link.unlink()


def test_bad_values_are_one_sentence(server, segmented, caplog) -> None:
    bad = [None, {}, 1e308]

    async def refused(client: Client) -> None:
        for name, usual in CALLS.items():
            usual = {**usual, **({"result": segmented["result"]} if name != "segment" else {})}
            for key in usual:
                for value in bad:
                    if (key, value) in FITTING:
                        continue
                    sentence(await client.call_tool(name, {**usual, key: value}))
            sentence(await client.call_tool(name, {**usual, "colour": 1}))
        sentence(await client.call_tool("paint", {}))
        sentence(await client.call_tool("cut", {}))

    run(server, refused, of="127.0.0.3")  # an address may ask only so often
    assert not caplog.records


CALLS: dict[str, dict[str, Any]] = {
    "segment": {"clip": "rolling-balls", **SMALL, "start": 0, "end": 0},
    "cut": {"result": "", "n_clusters": 3, "sample_index": 0, "edits": []},
    "attend": {"result": "", "y": 1, "x": 1, "head": -1, "source": "untrained", "rows": False},
    "export": {"result": "", "n_clusters": 3, "edits": []},
    "html": {"result": "", "n_clusters": 3, "edits": []},
    "delete": {"result": ""},
}
FITTING = [("rows", True)]


def test_who_cancels_stops_only_what_is_their_own(server, tmp_path) -> None:
    write_clip(tmp_path / "one.mp4", 7)
    sent = base64.b64encode((tmp_path / "one.mp4").read_bytes()).decode()
    asked = {"clip": sent, "backbone": "descriptors", "frames": 6, "patches": 1500}
    ended: dict[str, types.CallToolResult] = {}

    async def both() -> None:
        mine = Client(f"{server}gradio_api/mcp", mode=LEGACY)
        other = Client(f"{server}gradio_api/mcp", mode=LEGACY)
        async with mine as a, other as b, anyio.create_task_group() as group:
            begun = {name: anyio.Event() for name in "ab"}

            async def work(name: str, client: Client) -> None:
                async def noted(*_: object) -> None:
                    begun[name].set()

                ended[name] = await client.call_tool("segment", asked, progress_callback=noted)

            group.start_soon(work, "a", a)
            group.start_soon(work, "b", b)
            for event in begun.values():
                await event.wait()
            assert not (await b.call_tool("cancel", {})).is_error

    event_loops.run(both)
    assert sentence(ended["b"]) == "Cancelled."
    assert ended["a"].structured_content["clusters"] >= 1


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
def test_giving_up_a_call_stops_its_job(server, served: Service, tmp_path, mode) -> None:
    write_clip(tmp_path / "one.mp4", 8)
    sent = base64.b64encode((tmp_path / "one.mp4").read_bytes()).decode()
    asked = {"clip": sent, "backbone": "descriptors", "frames": 6, "patches": 4000}

    async def given_up(client: Client) -> None:
        with anyio.CancelScope() as scope:

            async def noted(*_: object) -> None:
                scope.cancel()

            await client.call_tool("segment", asked, progress_callback=noted)
        assert scope.cancelled_caught
        with anyio.fail_after(20):
            while served.jobs.runs.active:
                await anyio.lowlevel.checkpoint()

    run(server, given_up, mode)


def test_a_connection_without_a_session_has_nothing_to_cancel(server) -> None:
    assert "no session" in sentence(call(server, "cancel", MODERN))


def test_without_the_package_the_address_answers_a_sentence(served: Service, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    answer = TestClient(Starlette(routes=Mounted(served).routes)).post("/gradio_api/mcp")
    assert answer.status_code == 501
    assert answer.text == strings.NO_MCP
