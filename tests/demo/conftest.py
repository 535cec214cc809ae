"""One real server, one client and one real browser for all tests of the page."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported first
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import huggingface_hub.constants
import imageio_ffmpeg
import numpy as np
import pytest

from bavos_core import Analysis, Settings, analyse
from demo.gateway import limit
from demo.page import Page, build
from demo.server import launch_options, prepare_gradio
from demo.service import Service
from demo.settings import DemoSettings

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"
# A test says with X-Forwarded-For that it is another client than the rest.
SERVED = DemoSettings(backbone="descriptors", max_frames=6, proxies=1)


@pytest.fixture(scope="session", autouse=True)
def without_the_network() -> Iterator[None]:
    """No model hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="session")
def example() -> Path:
    """A clip that the project ships: 40 frames of 432×240."""
    return EXAMPLES / "rolling-balls.mp4"


@pytest.fixture(scope="session")
def example_facts(example: Path) -> dict:
    """What assets/examples says about it: frames and size (width, height)."""
    facts = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    return next(clip for clip in facts if clip["name"] == example.stem)


@pytest.fixture(scope="session")
def tiny_analysis() -> Analysis:
    """Three frames of noise, analysed."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    return analyse(frames, Settings(backbone="descriptors", size=(48, 64), device="cpu"))


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of 128×96, two a second: 1.5 seconds from the first to the last."""
    path = tmp_path_factory.mktemp("clips") / "small.mp4"
    scene = (
        np.random.default_rng(1).integers(0, 90, (12, 16, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    )
    writer = imageio_ffmpeg.write_frames(str(path), (128, 96), fps=2, macro_block_size=2)
    writer.send(None)
    for i in range(4):
        frame = scene.copy()
        frame[24:72, 16 + 12 * i : 56 + 12 * i] = (220, 60, 40)
        writer.send(frame)
    writer.close()
    return path


@pytest.fixture(scope="session")
def not_a_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file that says it is a video."""
    path = tmp_path_factory.mktemp("bad") / "notes.mp4"
    path.write_text("Shopping list: bread, milk, a tripod.\n" * 50)
    return path


@pytest.fixture(scope="session")
def decode() -> Callable[[Path], np.ndarray]:
    """Reads a video with nothing of ours: (F, H, W, 3) uint8."""

    def decoded(path: str | Path) -> np.ndarray:
        stream = imageio_ffmpeg.read_frames(str(path), output_params=["-fps_mode", "passthrough"])
        width, height = next(stream)["size"]
        return np.stack([np.frombuffer(f, np.uint8).reshape(height, width, 3) for f in stream])

    return decoded


@pytest.fixture(scope="session")
def served() -> Iterator[Service]:
    """The service behind the page that is served."""
    service = Service(SERVED, examples=sorted(EXAMPLES.glob("*.mp4")))
    yield service
    service.close()


@pytest.fixture(scope="session")
def blocks(served: Service) -> Iterator[gr.Blocks]:
    """The page as Gradio has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(served.store.cache))
        prepare_gradio()
        yield build(served)


@pytest.fixture(scope="session")
def server(served: Service, blocks: gr.Blocks) -> Iterator[str]:
    """The page, served from this process; its address."""
    with pytest.MonkeyPatch.context() as patch:
        # The server notices at the next heartbeat that a visitor has left: 15 seconds by default.
        patch.setattr("gradio.utils.get_heartbeat_rate", lambda: 0.5, raising=False)
        _, address, _ = blocks.launch(
            server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options(served)
        )
        limit(blocks.server, each_peer=False)
        yield address
        blocks.close(verbose=False)


@pytest.fixture(scope="session")
def page_of(served: Service) -> Callable[[Service], Page]:
    """Return the components of the page, without a server, for any service."""
    with gr.Blocks():
        page = Page.lay_out(served)
    return lambda service: replace(page, service=service)
