"""The HTTP API from the outside: gradio_client against a server that really runs."""

import json
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from PIL import Image

from .helpers import FRAMES, PATCHES


@pytest.fixture(scope="package")
def client(server: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A client that keeps what it is sent in a folder of its own."""
    downloads = tmp_path_factory.mktemp("client")
    return Client(server, verbose=False, download_files=str(downloads), analytics_enabled=False)


@pytest.fixture(scope="package")
def segmented(client: Client, example: Path) -> tuple[dict, str]:
    """Summary and overlay of the example."""
    return client.predict(handle_file(example), "descriptors", FRAMES, PATCHES, api_name="/segment")


@pytest.fixture(scope="package")
def summary(segmented: tuple[dict, str]) -> dict:
    return segmented[0]


@pytest.fixture(scope="package")
def exported(client: Client, summary: dict) -> dict[str, Path]:
    """All files of the export, by name."""
    paths = client.predict(summary["result"], summary["clusters"], api_name="/export")
    return {Path(path).name: Path(path) for path in paths}


@pytest.fixture(scope="package")
def masks(exported: dict[str, Path]) -> dict:
    return json.loads(exported["masks.json"].read_text())


@pytest.fixture(scope="package")
def pngs(exported: dict[str, Path]) -> dict[str, Image.Image]:
    """The pictures of masks.zip by their names there."""
    with zipfile.ZipFile(exported["masks.zip"]) as archive:
        assert archive.testzip() is None
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        return {name: Image.open(BytesIO(archive.read(name))) for name in names}


@pytest.fixture(scope="package")
def hierarchy(exported: dict[str, Path]) -> dict:
    return json.loads(exported["hierarchy.json"].read_text())
