"""The viewer with the parts of a real result: what it shows is what is exported."""

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from bavos_core import Analysis, Edit, Settings, analyse
from bavos_core.export.masks import analysed_mask
from bavos_lab.scene import Scene
from demo.viewer import bundle, css

from .scenes import html

REEF = Path(__file__).resolve().parents[2] / "assets" / "examples" / "reef.mp4"


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyse(REEF, Settings(backbone="descriptors", frames=4, patches=240))


@pytest.fixture(scope="module")
def real(browser: Browser, analysis: Analysis, tmp_path_factory) -> Iterator[Page]:
    scene = Scene(analysis)
    path = tmp_path_factory.mktemp("real") / "viewer.html"
    parts = {name: scene.part(name) for name in scene.names}
    path.write_text(html(parts, bundle(), css()), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1400, "height": 770})
    page.goto(path.as_uri())
    page.evaluate("opened")
    page.locator(".arrived", has_text="4 of 40 frames").wait_for()
    yield page
    page.close()


def shown(page: Page, index: int, clusters: int, edits: tuple[Edit, ...]) -> np.ndarray:
    """The cluster of every pixel that the viewer paints."""
    found = page.evaluate(
        """async ([index, n, edits]) => {
          viewer.store.set({ n, edits });
          while (!viewer.scene.frame(index)) await new Promise((go) => setTimeout(go, 20));
          const codes = Bavos.codesOf(viewer, viewer.scene.frame(index));
          return btoa(Array.from(codes, (code) => String.fromCharCode(code >> 1)).join(''));
        }""",
        [index, clusters, [edit.to_dict() for edit in edits]],
    )
    return np.frombuffer(base64.b64decode(found), np.uint8).reshape(240, 432)


EDITS = {
    "none": [],
    "roles": [Edit.role(0, "object"), Edit.role(1, "background"), Edit.role(3, "object")],
    "merge": [Edit.merge(2, 1), Edit.merge(4, 0)],
    "split": [Edit.split(0, at=5), Edit.split(1, at=5), Edit.merge(5, 2, at=5)],
    "split of a merge": [Edit.merge(0, 1), Edit.split(1, at=5), Edit.role(5, "object", at=5)],
}


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
def test_the_pixels_are_those_of_the_export(
    real: Page, analysis: Analysis, edits: list[Edit]
) -> None:
    cut = analysis.edited(*edits).segment(n_clusters=5)
    for sample in (0, 2):
        ours = shown(real, int(analysis.analysed[sample]), 5, tuple(edits))
        theirs = analysed_mask(analysis, cut, sample).labels
        for cluster in cut.objects:
            both = (ours == cluster) & (theirs == cluster)
            assert both.sum() >= 0.98 * ((ours == cluster) | (theirs == cluster)).sum(), cluster
        assert (ours == theirs).mean() >= 0.99


@pytest.mark.parametrize("clusters", [1, 3, 8, 12])
def test_they_are_so_at_every_cut(real: Page, analysis: Analysis, clusters: int) -> None:
    ours = shown(real, int(analysis.analysed[1]), clusters, ())
    theirs = analysed_mask(analysis, analysis.segment(n_clusters=clusters), 1).labels
    assert (ours == theirs).mean() >= 0.99
