"""What strangers upload: to the page and to the API, each a result or one clear sentence."""

import sys
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from bavos_core import Cancelled
from demo import strings
from demo.page import Page
from demo.panels.events import notices
from demo.panels.start import StartEvents
from demo.service import Service
from demo.settings import DemoSettings

sys.path.insert(0, str(Path(__file__).parents[1]))
from core.bad_files import CASES, NAMES
from core.odd_files import text

UPLOADS = [name for name in CASES if "." in name]  # a folder cannot be uploaded
# The client cannot read a link that leads nowhere either, and waits for ever for a pipe.
SENT = [name for name in UPLOADS if name not in ("dangling.mp4", "loop.mp4", "pipe.mp4")]
STRICT = DemoSettings(
    backbone="descriptors", max_upload_mib=1, max_seconds=600, max_clip_frames=500,
    max_megapixels=4,
    max_zip_members=50, max_zip_ratio=200, decode_seconds=30, max_frames=6,
)  # fmt: skip
quietly = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning"
)


@pytest.fixture
def page(page_of):
    """The page with narrow limits."""
    service = Service(STRICT)
    yield page_of(service)
    service.close()


def check_sentence(message: str, path: Path) -> None:
    assert message.endswith("."), message
    assert "\n" not in message
    assert message != strings.failure(Exception())
    assert str(path.parent) not in message
    for trace in ("Traceback", 'File "', "Error:", ".py"):
        assert trace not in message


def described(page: Page, path: Path) -> dict:
    """What the page says of a file that was uploaded."""
    head = page.start
    values = {head.clip: str(path), head.backbone: "descriptors", head.preset: "fast"}
    return StartEvents(page).describe(values)


@quietly
@pytest.mark.parametrize("name", UPLOADS)
def test_the_page_shows_a_clip_or_a_sentence_and_keeps_nothing(name, page, tmp_path) -> None:
    path = tmp_path / name
    CASES[name].make(path)
    try:
        shown = described(page, path)
    except gr.Error as error:
        check_sentence(error.message, path)
    else:
        assert "frame" in shown[page.viewer.notice]
    assert not list(page.service.store.root.rglob("*.mp4"))


@pytest.mark.parametrize("name", SENT[::5])
def test_the_api_gives_a_result_or_a_sentence(name, client, tmp_path) -> None:
    path = tmp_path / name
    CASES[name].make(path)
    try:
        summary, _ = client.predict(handle_file(path), "descriptors", 2, 48, api_name="/segment")
    except AppError as error:
        check_sentence(str(error), path)
    else:
        assert summary["clusters"] >= 1


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_only_names(name, page, tmp_path) -> None:
    path = tmp_path / name
    text(path)
    with pytest.raises(gr.Error) as caught:
        described(page, path)
    check_sentence(caught.value.message, path)


@pytest.fixture(scope="module")
def client(server: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder = tmp_path_factory.mktemp("client")
    return Client(server, verbose=False, download_files=str(folder), analytics_enabled=False)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "The server's disk is full"),
        (MemoryError(), "not enough memory"),
        (KeyError("x"), "Something went wrong on the server"),
    ],
)
def test_what_nobody_foresaw_is_a_sentence_on_the_page_and_a_traceback_in_the_log(
    error, said, caplog
) -> None:
    with pytest.raises(gr.Error) as caught, notices():
        raise error
    assert said in caught.value.message
    assert type(error).__name__ not in caught.value.message
    assert caplog.records[0].exc_info[1] is error


def test_cancelled_is_no_failure(caplog) -> None:
    with pytest.raises(gr.Error) as caught, notices():
        raise Cancelled
    assert caught.value.message == "Cancelled."
    assert not caplog.records


def test_the_limits_are_beside_the_upload_button() -> None:
    said = strings.limits(STRICT)
    for limit in ("1 MiB", "10 minutes", "500 frames", "4 megapixels"):
        assert limit in said
