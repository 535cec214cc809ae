"""The service without the page."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.service import Service
from demo.settings import DemoSettings
from demo.store import Result

from .helpers import FEW, ignore


@pytest.fixture(scope="package")
def service() -> Iterator[Service]:
    made = Service(DemoSettings(backbone="descriptors", max_frames=3, preview_side=64))
    yield made
    made.close()


@pytest.fixture(scope="package")
def result(service: Service, small_clip: Path) -> Result:
    return service.segment(str(small_clip), "descriptors", FEW, ignore)


@pytest.fixture
def limited() -> Iterator[Service]:
    """Takes 1 MiB and 1 second."""
    made = Service(DemoSettings(backbone="descriptors", max_upload_mib=1, max_seconds=1))
    yield made
    made.close()


@pytest.fixture
def with_example(small_clip: Path) -> Iterator[Service]:
    """The small clip is the example."""
    made = Service(DemoSettings(backbone="descriptors", max_frames=3), examples=[small_clip])
    yield made
    made.close()
