"""The page as a person uses it: a real Chromium on the running server.

A screenshot of the end of every test goes to tests/screenshots/.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

SCREENSHOTS = Path(__file__).resolve().parents[1] / "screenshots"
LONG = 60_000  # milliseconds, for what analyses or encodes


@pytest.fixture
def page(browser: Browser, server: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, freshly opened. An error on its console or a request elsewhere fails the test."""
    opened = browser.new_page(viewport={"width": 1400, "height": 1000})
    opened.set_default_timeout(LONG)
    complaints: list[str] = []

    def hear(message) -> None:
        if message.type == "error":
            complaints.append(f"console: {message.text}")

    def see(request) -> None:
        if not request.url.startswith((server, "blob:", "data:")):
            complaints.append(f"request: {request.url}")

    opened.on("console", hear)
    opened.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
    opened.on("request", see)
    opened.goto(server)
    expect(opened.locator("#segment")).to_be_visible(timeout=LONG)
    yield opened
    SCREENSHOTS.mkdir(exist_ok=True)
    opened.screenshot(path=SCREENSHOTS / f"{request.node.name}.png", full_page=True)
    opened.close()
    assert not complaints


@pytest.fixture
def segmented(page: Page, small_clip: Path) -> Page:
    """The page after a short clip was uploaded and segmented."""
    upload(page, small_clip)
    expect(page.locator("#original video")).to_be_visible(timeout=LONG)
    page.click("#segment")
    expect(page.locator("#frame img")).to_be_visible(timeout=LONG)
    expect(page.locator("#tree svg")).to_be_visible(timeout=LONG)
    return page


@pytest.fixture
def attended(segmented: Page) -> Page:
    """The page after a patch was clicked as well."""
    click_at(segmented.locator("#frame img"), 0.5, 0.5)
    expect(segmented.locator("#heat img")).to_be_visible(timeout=LONG)
    expect(segmented.locator("#heat-video video")).to_be_visible(timeout=LONG)
    return segmented


def upload(page: Page, clip: Path) -> None:
    page.locator("#clip input[type=file]").set_input_files(clip)


def click_at(picture: Locator, right: float, down: float) -> None:
    """Click a picture at shares of its width and height."""
    box = picture.bounding_box()
    picture.click(position={"x": right * box["width"], "y": down * box["height"]})


def source_of(element: Locator) -> re.Pattern[str]:
    """Address of what an element shows now, to wait until it is another."""
    return re.compile(re.escape(element.get_attribute("src")))


def expect_another(element: Locator, before: re.Pattern[str]) -> None:
    expect(element).not_to_have_attribute("src", before, timeout=LONG)
    expect(element).to_have_attribute("src", re.compile("."))


def picture_of(element: Locator) -> np.ndarray:
    """The pixels that an <img> was sent, as float grey (H, W)."""
    answer = element.page.request.get(element.get_attribute("src"))
    assert answer.ok
    return np.asarray(Image.open(BytesIO(answer.body())).convert("L"), float)


def set_number(page: Page, slider: str, value: int) -> None:
    """Type a value into the box beside a slider."""
    box = page.locator(f"{slider} input[type=number]")
    box.fill(str(value))
    box.press("Enter")
    box.blur()


def expect_to_play(video: Locator) -> None:
    """The browser has pictures of the video and moves through it."""
    handle = video.element_handle()
    page = video.page
    page.wait_for_function("v => v.readyState >= 2 && v.videoWidth > 0", arg=handle)
    start = handle.evaluate("async v => { v.pause(); v.currentTime = 0; await v.play(); return 0 }")
    page.wait_for_function("([v, start]) => v.currentTime > start", arg=[handle, start])


def expect_no_notice(page: Page) -> None:
    expect(page.get_by_test_id("toast-body")).to_have_count(0)


# ---- from a clip to downloads ------------------------------------------------------------------


def test_an_uploaded_clip_becomes_objects_attention_and_downloads(
    page: Page, example: Path, example_facts: dict, tmp_path: Path
) -> None:
    expect(page.locator("#frame")).to_be_hidden()
    upload(page, example)
    expect_to_play(page.locator("#original video"))
    page.click("#segment")
    expect(page.locator("#frame img")).to_be_visible(timeout=LONG)
    expect(page.locator("#notice")).to_contain_text("objects")
    expect(page.locator("#notice")).to_contain_text("builtin")
    expect_to_play(page.locator("#overlay video"))

    click_at(page.locator("#frame img"), 0.5, 0.5)
    heat, heat_video = page.locator("#heat img"), page.locator("#heat-video video")
    expect(heat).to_be_visible(timeout=LONG)
    expect(heat_video).to_be_visible(timeout=LONG)
    expect_to_play(heat_video)

    before, video_before = source_of(heat), source_of(heat_video)
    page.locator("#source input[value=untrained]").check()
    expect_another(heat, before)
    expect_another(heat_video, video_before)

    before, video_before = source_of(heat), source_of(heat_video)
    choose_head(page, "Head 3")
    expect_another(heat, before)
    expect_another(heat_video, video_before)

    frame, overlay = page.locator("#frame img"), page.locator("#overlay video")
    before, video_before = source_of(frame), source_of(overlay)
    set_number(page, "#clusters", 30)
    expect_another(frame, before)
    expect_another(overlay, video_before)

    page.click("#prepare")
    masks = page.locator('#downloads a[download="masks.zip"]')
    expect(masks).to_be_visible(timeout=LONG)
    with page.expect_download() as download:
        masks.click()
    download.value.save_as(tmp_path / "masks.zip")
    with zipfile.ZipFile(tmp_path / "masks.zip") as archive:
        pictures = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(pictures) == example_facts["frames"]
        assert list(Image.open(archive.open(pictures[0])).size) == example_facts["size"]
    expect_no_notice(page)


def choose_head(page: Page, name: str) -> None:
    menu = page.get_by_role("combobox", name="Head")
    expect(menu).to_be_enabled()
    menu.click()
    page.get_by_role("option", name=name, exact=True).click()


def test_an_example_of_the_gallery_can_be_segmented(page: Page) -> None:
    page.locator("#examples button img").nth(1).click()
    expect_to_play(page.locator("#original video"))
    page.click("#segment")
    expect(page.locator("#frame img")).to_be_visible(timeout=LONG)
    expect_to_play(page.locator("#overlay video"))
    expect_no_notice(page)


def test_the_gallery_shows_every_example_with_its_title(page: Page) -> None:
    examples = Path(__file__).resolve().parents[2] / "assets" / "examples" / "examples.json"
    titles = [clip["title"] for clip in json.loads(examples.read_text(encoding="utf-8"))]
    expect(page.locator("#examples button img")).to_have_count(len(titles))
    for title in titles:
        expect(page.locator("#examples")).to_contain_text(title)


# ---- what cannot be used -----------------------------------------------------------------------


def test_text_that_says_it_is_a_video_gets_one_sentence(page: Page, not_a_video: Path) -> None:
    upload(page, not_a_video)
    notice = page.get_by_test_id("toast-text")
    expect(notice).to_be_in_viewport()
    expect(notice).to_contain_text("'notes.mp4' holds no video that can be read")
    expect(page.locator("body")).not_to_contain_text("Traceback")
    expect(page.locator("#frame")).to_be_hidden()


def test_segment_without_a_clip_says_what_to_do(page: Page) -> None:
    page.click("#segment")
    expect(page.get_by_test_id("toast-text")).to_have_text(
        "Choose a clip first: upload one or click an example."
    )
    expect(page.locator("#frame")).to_be_hidden()


# ---- attention ---------------------------------------------------------------------------------


def test_the_ring_on_the_heatmap_lies_where_the_frame_was_clicked(segmented: Page) -> None:
    click_at(segmented.locator("#frame img"), 0.25, 0.75)
    heat = segmented.locator("#heat img")
    expect(heat).to_be_visible(timeout=LONG)
    picture = picture_of(heat)
    height, width = picture.shape
    radius = max(4, 0.014 * max(height, width))

    def ring_at(y: float, x: float) -> float:
        """How much brighter a ring around a point is than what lies just inside and outside."""
        rows, columns = np.ogrid[:height, :width]
        away = abs(np.hypot(rows + 0.5 - y, columns + 0.5 - x) - radius) / radius
        return picture[away < 0.15].mean() - picture[(away > 0.27) & (away < 0.4)].mean()

    places = [(y, x) for y in range(8, height - 8) for x in range(8, width - 8)]
    found = max(places, key=lambda place: ring_at(*place))
    assert found == pytest.approx((0.75 * height, 0.25 * width), abs=1.5)
    assert ring_at(*found) > 60


def test_another_point_gives_another_heatmap_and_caption(attended: Page) -> None:
    heat, video = attended.locator("#heat img"), attended.locator("#heat-video video")
    before, video_before = source_of(heat), source_of(video)
    click_at(attended.locator("#frame img"), 0.1, 0.1)
    expect_another(heat, before)
    expect_another(video, video_before)
    expect(attended.get_by_text("of the attention stays in that frame")).to_be_visible()


def test_the_time_slider_changes_frame_and_heatmap(attended: Page) -> None:
    frame, heat = attended.locator("#frame img"), attended.locator("#heat img")
    before, heat_before = source_of(frame), source_of(heat)
    set_number(attended, "#position", 0)
    expect_another(frame, before)
    expect_another(heat, heat_before)


def test_a_source_with_fewer_heads_can_follow_any_head(attended: Page) -> None:
    heat, video = attended.locator("#heat img"), attended.locator("#heat-video video")
    before, video_before = source_of(heat), source_of(video)
    attended.locator("#source input[value=untrained]").check()
    expect_another(heat, before)
    expect_another(video, video_before)  # or its arrival may close the list that is opened next
    before, video_before = source_of(heat), source_of(video)
    choose_head(attended, "Head 7")
    expect_another(heat, before)
    expect_another(video, video_before)
    before, video_before = source_of(heat), source_of(video)
    attended.locator("#source input[value=keys]").check()
    expect(attended.get_by_role("combobox", name="Head")).to_have_value("Mean of all")
    expect_another(heat, before)
    expect_another(video, video_before)
    expect_no_notice(attended)


def test_sources_heads_and_frames_are_shown_side_by_side(attended: Page) -> None:
    tiles = attended.locator("#tiles img")
    expect(tiles).to_have_count(4, timeout=LONG)  # the frames of the clip
    attended.locator("#compare input[value=sources]").check()
    expect(attended.locator("#tiles")).to_contain_text("Frame-wise")
    expect(tiles).to_have_count(3)
    attended.locator("#source input[value=untrained]").check()
    attended.locator("#compare input[value=heads]").check()
    expect(tiles).to_have_count(8)
    expect_no_notice(attended)


# ---- adapting ----------------------------------------------------------------------------------


def test_adapting_is_watched_and_undone(attended: Page) -> None:
    attended.get_by_role("button", name="Adapt to this clip").click()
    set_number(attended, "#steps", 20)
    attended.click("#adapt")
    expect(attended.locator("#seen img")).to_be_visible(timeout=LONG)
    expect(attended.locator("#adapt-status")).to_contain_text("Learned for 20 steps", timeout=LONG)
    expect(attended.locator("#losses canvas, #losses svg").first).to_be_visible()
    expect(attended.locator("#source input[value=learned]")).to_be_checked()
    attended.locator("#compare input[value=sources]").check()
    expect(attended.locator("#tiles")).to_contain_text("Trained block")
    attended.click("#undo")
    expect(attended.locator("#source input[value=learned]")).to_have_count(0)
    expect(attended.locator("#source input[value=keys]")).to_be_checked()
    expect_no_notice(attended)


def test_adapting_can_be_stopped(segmented: Page) -> None:
    segmented.get_by_role("button", name="Adapt to this clip").click()
    set_number(segmented, "#steps", 500)
    segmented.click("#adapt")
    expect(segmented.locator("#adapt-status")).to_contain_text("Step ", timeout=LONG)
    segmented.click("#stop")
    expect(segmented.locator("#adapt-status")).to_contain_text("stopped before 500", timeout=LONG)
    expect(segmented.locator("#source input[value=learned]")).to_be_checked()
    expect_no_notice(segmented)


# ---- objects -----------------------------------------------------------------------------------


def test_granularity_changes_the_list_of_objects_and_the_tree(segmented: Page) -> None:
    set_number(segmented, "#clusters", 2)
    expect(segmented.locator("#tree svg title")).to_contain_text("2 clusters at")
    set_number(segmented, "#clusters", 25)
    expect(segmented.locator("#tree svg title")).to_contain_text("25 clusters at")
    scenery = segmented.locator("#objects li", has_text="Background")
    count = int(re.search(r"(\d+) clusters", scenery.inner_text()).group(1))
    assert segmented.locator("#objects li").count() - 1 + count == 25


def test_the_background_can_be_coloured_in_frame_and_video(segmented: Page) -> None:
    frame, overlay = segmented.locator("#frame img"), segmented.locator("#overlay video")
    before, video_before = source_of(frame), source_of(overlay)
    segmented.locator("#background input").check()
    expect_another(frame, before)
    expect_another(overlay, video_before)
