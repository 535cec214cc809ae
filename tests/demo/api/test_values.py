"""Every parameter of every endpoint, given what it is not for: one sentence, and nothing logged."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import handle_file

from bavos_io.errors import echo

from .helpers import FRAMES, PATCHES, refusal

ROOT = Path(__file__).resolve().parents[3]
DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]
LONG = "x" * 400_000  # the gate refuses more
ANY = [None, True, [], [1], {}, {"path": "/etc/passwd"}, DEEP, LONG, "NaN"]
NUMBERS = [*ANY, "5", float("nan"), float("inf"), -float("inf"), 1e308, -7, 10**40, 1.5]
TEXTS = [True, [], {}, 7, DEEP, LONG, "no-such-thing", "../../etc/passwd", "\ud800", "\0"]
SWITCHES = ["yes", 7, [], {}, DEEP, LONG]
FILES = [
    True, [], 7, DEEP, {"path": 5}, {"path": "/etc/passwd"}, {"path": "http://127.0.0.1:1/x.mp4"},
    {"path": "x\0y"}, {"path": "x" * 10**5}, {},
]  # fmt: skip
EDITS = [
    *ANY, [None], [DEEP], [[]], [{"action": "name"}], [{"action": DEEP, "cluster": 1}],
    [{"action": "name", "cluster": float("nan"), "value": "a"}],
    [{"action": "merge", "cluster": -1, "value": 10**40}], [{"x" * 10**5: 1}],
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
]  # fmt: skip
EDITS.remove([])
WRONG = {  # of each endpoint, for each parameter in order
    "segment": [FILES, TEXTS, NUMBERS, NUMBERS, NUMBERS, NUMBERS],
    "cut": [TEXTS, NUMBERS, NUMBERS, EDITS],
    "attend": [TEXTS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, TEXTS, SWITCHES],
    "export": [TEXTS, NUMBERS, EDITS],
    "html": [TEXTS, NUMBERS, EDITS],
}
FINE = {1.5: ("y", "x", "start", "end"), -7: ()}


@pytest.fixture
def right(client, small_clip: Path, summary: dict) -> dict[str, list[Any]]:
    """Values that each endpoint takes."""
    uploaded = httpx.post(
        f"{client.src}gradio_api/upload", files={"files": ("small.mp4", small_clip.read_bytes())}
    ).json()[0]
    clip = {"path": uploaded, "meta": {"_type": "gradio.FileData"}}
    result = summary["result"]
    return {
        "segment": [clip, "descriptors", 2, 48, 0, 0],
        "cut": [result, 3, 0, []],
        "attend": [result, 0, 1, 1, -1, "key-similarity", False],
        "export": [result, 3, []],
        "html": [result, 3, []],
    }


@pytest.fixture
def said(client) -> Callable[[str, list[Any]], str]:
    """Joins the queue as a browser does, and returns the error that comes."""
    config, sessions = client.config, count()
    indices = {one["api_name"]: one["id"] for one in config["dependencies"]}

    def answer(endpoint: str, values: list[Any], event: Any = None) -> str:
        session = f"wrong-{next(sessions)}"
        index = indices[endpoint]
        body = {"data": values, "fn_index": index, "session_hash": session, "event_data": event}
        address = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(base_url=client.src, timeout=60, transport=address) as http:
            # Python's JSON has NaN and infinities, and Gradio reads it.
            content, sent = json.dumps(body), None
            while sent is None or sent.status_code == 429:  # faster than one address may ask
                sent = http.post("gradio_api/queue/join", content=content, headers=JSON)
            if not sent.is_success:
                return str(sent.json()["detail"])
            with http.stream("GET", f"gradio_api/queue/data?session_hash={session}") as stream:
                return next(filter(None, map(error_in, stream.iter_lines())))

    return answer


JSON = {"Content-Type": "application/json"}


def error_in(line: str) -> str:
    message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
    if message.get("msg") != "process_completed":
        return ""
    assert not message["success"], message
    return str(message["output"]["error"])


def check_sentence(text: str) -> None:
    assert text.endswith("."), text
    assert len(text) <= 250, text
    assert "\n" not in text
    assert text != "None"
    for hidden in ("Traceback", "went wrong", "Error:", "bavos-", str(ROOT), "site-packages", "<"):
        assert hidden not in text, text


def cases(endpoint: str, names: list[str]) -> Iterator[tuple[int, Any]]:
    for position, values in enumerate(WRONG[endpoint]):
        for value in values:
            if value != 1.5 or names[position] not in FINE[1.5]:
                yield position, value


@pytest.mark.parametrize("endpoint", WRONG)
def test_a_wrong_value_is_one_sentence_and_nothing_is_logged(
    client, right, said, endpoint, caplog, capfd
) -> None:
    described = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    names = [each["parameter_name"] for each in described[f"/{endpoint}"]["parameters"]]
    for position, value in cases(endpoint, names):
        values = [*right[endpoint]]
        values[position] = value
        text = said(endpoint, values)
        check_sentence(text)
        assert not re.search(r"x{61}", text)
    for wrong in (right[endpoint][:-1], [*right[endpoint], 1], []):
        check_sentence(said(endpoint, wrong))
    assert not caplog.records, caplog.text[:2000]
    printed = "".join(capfd.readouterr())
    assert "Traceback" not in printed, printed[:2000]


def test_types_and_defaults_are_still_told(client) -> None:
    described = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    told = {
        each["parameter_name"]: (each["python_type"]["type"], each["parameter_default"])
        for each in described["/segment"]["parameters"]
    }
    assert told["frames"] == ("float", 24)
    assert told["backbone"] == ("str", "auto")
    assert told["clip"][0] == "filepath"


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e308", "x" * 5000, "", "[]", "1;2", "½"])
@pytest.mark.parametrize("name", ["sample", "y", "x", "head", "source"])
def test_a_wrong_value_in_an_address_is_one_sentence(server, summary, name, value, caplog) -> None:
    right = {"sample": 0, "y": 0.5, "x": 0.5, "head": -1, "source": "key-similarity"}
    if (name, value) == ("head", "-1"):
        return
    address = f"{server}gradio_api/bavos/{summary['result']}/exact"
    answer = httpx.get(address, params={**right, name: value})
    assert answer.status_code == 400
    check_sentence(answer.text)
    assert not caplog.records


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000, '{"n":' + "[" * 50_000, '{"n": NaN}', '{"n": 1e999}', '{"n": -1}',
        '{"n": true}', '{"n": "5"}', '{"n": 1.5}', '{"n": 3, "edits": {"a": 1}}',
        '{"n": 3, "selected": "all"}', '{"n": 3, "selected": [null]}', '{"n": ' + "9" * 5000 + "}",
        '{"n": 3, "edits": [' + '"x",' * 300 + '"x"]}', "\ud800".encode(errors="surrogatepass"),
    ],
)  # fmt: skip
def test_a_wrong_state_is_one_sentence(server, summary, body, caplog) -> None:
    answer = httpx.post(f"{server}gradio_api/bavos/{summary['result']}/html", content=body)
    assert answer.status_code == 400
    check_sentence(answer.text)
    assert not caplog.records


def test_a_wrong_value_of_the_page_is_one_sentence(right, said, caplog, capfd) -> None:
    clip = right["segment"][0]
    for state in (None, DEEP, {"result": 5}, {"result": "x", "n": None}):
        for values in ([state, "all", "", False], [state, None, None, None], [state, "x", [], 1]):
            check_sentence(said("make_files", values))
        for steps in (None, float("nan"), 1e308, True):
            check_sentence(said("adapt", [state, steps]))
        check_sentence(said("delete", [state]))
        check_sentence(said("write_code", [], state))
        check_sentence(said("take_example", [], state))
    for values in ([None, "after"], [None, None], [None, "now"], [None, []]):
        check_sentence(said("switch", values))
    order = [clip, "fast", 0, 0, "descriptors"]
    for position in range(len(order)):
        for value in ([], float("nan"), {"path": "http://127.0.0.1/"}):
            values = [*order]
            values[position] = value
            check_sentence(said("segment_1", values))
    assert not caplog.records, caplog.text[:2000]
    assert "Traceback" not in "".join(capfd.readouterr())


def test_half_a_character_in_a_name_is_replaced(client, summary) -> None:
    edits = [{"action": "name", "cluster": 0, "value": "a\ud800b", "at": None}]
    body = json.dumps({"data": [summary["result"], 3, 0, edits]})
    answer = httpx.post(f"{client.src}gradio_api/call/cut", content=body, headers=JSON).json()
    events = httpx.get(f"{client.src}gradio_api/call/cut/{answer['event_id']}", timeout=60).text
    assert '"a?b"' in events


def test_an_echo_is_short_and_cheap_whatever_it_shows() -> None:
    for value in (*TEXTS, *NUMBERS, *EDITS, 10**5000, {"a": [DEEP] * 10**5}, b"x" * 10**6):
        assert len(echo(value)) <= 60


def test_a_clip_that_is_no_upload_is_refused(client) -> None:
    assert "upload" in refusal(
        client, handle_file("http://127.0.0.1:1/clip.mp4"), "descriptors", FRAMES, PATCHES,
        api_name="/segment",
    )  # fmt: skip
