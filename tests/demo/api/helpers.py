"""Constants and functions that the tests of the HTTP API share."""

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

FRAMES = 4  # analysed
PATCHES = 300  # of a frame, about
FILES = {
    "bavos.zip", "overlay.mp4", "masks.zip", "masks.json", "labels.npz",
    "hierarchy.json", "hierarchy.svg", "summary.json",
}  # fmt: skip


def refusal(client: Client, *values: object, api_name: str) -> str:
    """What the server says when it refuses a call: one line, a sentence, no traceback."""
    with pytest.raises(AppError) as caught:
        client.predict(*values, api_name=api_name)
    message = str(caught.value)
    assert message.endswith("."), message
    assert "\n" not in message
    assert len(message) < 250
    for trace in ("Traceback", 'File "', "Error:", ".py"):
        assert trace not in message
    return message


def width_and_height(path: str) -> list[int]:
    with Image.open(path) as picture:
        picture.load()
        return list(picture.size)
