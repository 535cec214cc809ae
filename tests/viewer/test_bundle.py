"""The modules as one program."""

import re
from collections import Counter

from playwright.sync_api import Page

from demo.viewer import bundle

from .node import VIEWER

TOP_LEVEL = re.compile(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", re.M)


def test_names_are_unique_over_all_modules() -> None:
    names = Counter(
        name
        for path in VIEWER.glob("*.js")
        for name in TOP_LEVEL.findall(path.read_text(encoding="utf-8"))
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_import_or_export_is_left() -> None:
    assert re.findall(r"^(?:import|export) .*", bundle(), re.M) == []


def test_the_viewer_mounts(page: Page) -> None:
    assert page.evaluate("viewer.state.n") == 6
    assert page.evaluate("viewer.state.view") == "objects"
