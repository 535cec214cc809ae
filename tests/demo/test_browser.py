"""The page as a person uses it: a real Chromium on the running server.

Tests of layout and tabs run in a wide and in a narrow window, all others in a wide one. A
screenshot of the end of every test goes to tests/screenshots/.
"""

import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, TimeoutError, expect

from bavos_core import Edit
from demo import compute, strings
from demo.examples import EXAMPLES
from demo.service import Service

SCREENSHOTS = Path(__file__).resolve().parents[1] / "screenshots"
LONG = 60_000  # milliseconds, for what analyses or encodes
SIZES = {"wide": {"width": 1400, "height": 1000}, "narrow": {"width": 390, "height": 844}}

Open = Callable[..., Page]
in_both_widths = pytest.mark.parametrize("opened", list(SIZES), indirect=True)


@pytest.fixture(scope="session")
def context(browser: Browser) -> BrowserContext:
    """One visitor's browser, so that what every page needs is loaded only once."""
    return browser.new_context()


@pytest.fixture
def opened(
    context: BrowserContext,
    server: str,
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Open]:
    """Opens the page at an address. What a browser or the server complains of fails the test."""
    pages: list[Page] = []
    complaints: list[str] = []

    def hear(message) -> None:
        if message.type == "error":
            complaints.append(f"console: {message.text}")

    def see(request) -> None:
        if not request.url.startswith((server, "blob:", "data:")):
            complaints.append(f"request: {request.url}")

    def open_page(address: str = "") -> Page:
        page = context.new_page()
        page.set_viewport_size(SIZES[getattr(request, "param", "wide")])
        page.set_default_timeout(LONG)
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
        page.on("request", see)
        page.goto(server.rstrip("/") + address)
        expect(page.locator("#segment")).to_be_visible(timeout=LONG)
        pages.append(page)
        return page

    yield open_page
    SCREENSHOTS.mkdir(exist_ok=True)
    for page in pages:
        page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png", full_page=True)
        page.close()
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err
    assert not complaints


@pytest.fixture
def page(opened: Open) -> Page:
    """The page, freshly opened."""
    return opened()


@pytest.fixture
def segmented(page: Page, small_clip: Path) -> Page:
    """The page after a short clip was uploaded and segmented; attention of a first patch shows."""
    upload(page, small_clip)
    expect(page.locator("#original video")).to_be_visible(timeout=LONG)
    page.click("#segment")
    expect_result(page)
    return page


def upload(page: Page, clip: Path) -> None:
    page.locator("#clip input[type=file]").set_input_files(clip)


def expect_result(page: Page) -> None:
    """Everything that comes with a new result is there."""
    expect(page.locator("#frame img")).to_be_visible(timeout=LONG)
    expect(page.locator("#heat img")).to_be_visible(timeout=LONG)
    expect(page.locator("#heat-video video")).to_be_visible(timeout=LONG)
    expect(page.locator("#tiles img").first).to_be_visible(timeout=LONG)


def open_tab(page: Page, name: str) -> None:
    """Open a tab; a narrow page moves those that find no room into a menu, even as we look."""
    tab, more = page.get_by_role("tab", name=name, exact=True), page.get_by_label("More tabs")
    for attempt in range(8):
        try:
            if tab.count() and tab.first.is_visible():
                tab.first.click(timeout=3_000)
            else:
                more.click(timeout=3_000)
                page.locator(".overflow-dropdown button", has_text=name).click(timeout=3_000)
            return
        except TimeoutError:
            if attempt == 7:
                raise


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


def changes(element: Locator, action: Callable[[], object]) -> None:
    """An action gives an element another picture or video."""
    before = source_of(element)
    action()
    expect_another(element, before)


def pixels_of(element: Locator) -> np.ndarray:
    """The pixels that an <img> was sent, (H, W, 3) as floats."""
    answer = element.page.request.get(element.get_attribute("src"))
    assert answer.ok
    return np.asarray(Image.open(BytesIO(answer.body())).convert("RGB"), float)


def set_number(page: Page, slider: str, value: float) -> None:
    """Type a value into the box beside a slider; again if its tab was only just being opened."""
    box, track = (page.locator(f"{slider} input[type={kind}]") for kind in ("number", "range"))
    for _ in range(3):
        box.fill(str(value))
        box.press("Enter")
        box.blur()
        if track.input_value() == f"{value:g}":
            break
    expect(track).to_have_value(f"{value:g}")


def number_of(page: Page, slider: str) -> float:
    return float(page.locator(f"{slider} input[type=number]").input_value())


def choose(page: Page, menu: str, name: str) -> None:
    """Choose from a drop-down list."""
    box = page.locator(f"{menu} input")
    expect(box).to_be_enabled()
    box.click()
    page.get_by_role("option", name=name, exact=True).click()


def expect_to_play(video: Locator) -> None:
    """The browser has pictures of the video and moves through it."""
    handle = video.element_handle()
    page = video.page
    page.wait_for_function("v => v.readyState >= 2 && v.videoWidth > 0", arg=handle)
    start = handle.evaluate("async v => { v.pause(); v.currentTime = 0; await v.play(); return 0 }")
    page.wait_for_function("([v, start]) => v.currentTime > start", arg=[handle, start])


def expect_no_notice(page: Page) -> None:
    expect(page.get_by_test_id("toast-body")).to_have_count(0)


def download(page: Page, name: str) -> bytes:
    """One of the files that were prepared."""
    link = page.locator(f'#downloads a[download="{name}"]')
    expect(link).to_be_visible(timeout=LONG)
    with page.expect_download() as started:
        link.click()
    return Path(started.value.path()).read_bytes()


# ---- from a clip to downloads ------------------------------------------------------------------


def test_an_uploaded_clip_becomes_objects_attention_and_downloads(
    page: Page, example: Path, example_facts: dict
) -> None:
    expect(page.locator("#frame")).to_be_hidden()
    upload(page, example)
    expect_to_play(page.locator("#original video"))
    page.locator("#preset input[value=fast]").check()
    page.click("#segment")
    expect_result(page)
    expect(page.locator("#notice")).to_contain_text("objects")
    expect(page.locator("#notice")).to_contain_text("descriptors")
    expect_to_play(page.locator("#overlay video"))
    expect_to_play(page.locator("#heat-video video"))
    changes(page.locator("#overlay video"), lambda: set_number(page, "#clusters", 30))

    open_tab(page, "Download")
    page.click("#prepare")
    everything = download(page, "bavos.zip")
    with zipfile.ZipFile(BytesIO(everything)) as archive:
        pictures = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(pictures) == example_facts["frames"]
        assert list(Image.open(archive.open(pictures[0])).size) == example_facts["size"]
    for name in ("overlay.mp4", "masks.zip", "hierarchy.svg", "heatmap.mp4"):
        expect(page.locator(f'#downloads a[download="{name}"]')).to_be_visible()
    expect_no_notice(page)


def test_a_click_on_an_example_is_all_it_takes_and_the_next_visitor_waits_for_nothing(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened()
    first.locator("#examples button img").nth(1).click()
    expect_result(first)
    expect_to_play(first.locator("#overlay video"))
    expect_to_play(first.locator("#original video"))

    monkeypatch.setattr(compute, "run_analysis", None)  # it would fail now
    second = opened()
    second.locator("#examples button img").nth(1).click()
    expect(second.locator("#overlay video")).to_be_visible(timeout=10_000)
    expect_result(second)
    expect(second.locator("#overlay video")).to_be_visible()  # the preview does not take it away
    expect_no_notice(second)


@in_both_widths
def test_the_gallery_shows_every_example_with_its_title(page: Page) -> None:
    facts = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    expect(page.locator("#examples button img")).to_have_count(len(facts))
    for clip in facts:
        expect(page.get_by_role("button", name=clip["title"], exact=True)).to_be_visible()


def test_the_address_chooses_example_backbone_and_quality(opened: Open) -> None:
    page = opened("/?example=rolling-balls&backbone=builtin&preset=fast")
    expect(page.locator("#preset input[value=fast]")).to_be_checked()
    expect_to_play(page.locator("#original video"))
    page.get_by_text("Settings", exact=True).first.click()
    expect(page.get_by_role("combobox", name="Backbone")).to_have_value(
        "bundled-vits14 (tuned on saliency labels)"
    )
    expect_no_notice(page)


def test_an_address_that_makes_no_sense_is_ignored(opened: Open) -> None:
    page = opened("/?example=../../etc/passwd&backbone=nonsense&preset=%3Cb%3E")
    expect(page.locator("#preset input[value=fast]")).to_be_checked()
    page.click("#segment")
    expect(page.get_by_test_id("toast-text")).to_contain_text("Choose a clip first")


def test_presets_tell_frames_and_after_a_run_seconds(segmented: Page) -> None:
    for name in ("fast", "balanced", "fine"):
        label = segmented.locator(f"#preset label:has(input[value={name}])")
        expect(label).to_contain_text(re.compile(r": 6 × \d+, \d+ s"), timeout=LONG)
    expect(segmented.locator("#preset input[value=fast]")).to_be_checked()


@in_both_widths
def test_nothing_moves_while_results_arrive(page: Page, small_clip: Path) -> None:
    upload(page, small_clip)
    expect(page.locator("#original video")).to_be_visible(timeout=LONG)
    page.click("#segment")
    expect(page.locator("#frame img")).to_be_visible(timeout=LONG)
    places = {name: page.locator(name).bounding_box()["y"] for name in ("#frame", "#clusters")}
    expect_result(page)
    page.wait_for_timeout(500)
    for name, y in places.items():
        assert page.locator(name).bounding_box()["y"] == pytest.approx(y, abs=2)


# ---- cancel ------------------------------------------------------------------------------------


def test_cancel_ends_a_run_with_one_notice_and_frees_the_lane(
    page: Page, small_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, ended = threading.Event(), threading.Event()

    def endless(clip, settings, progress):
        started.set()
        try:
            for _ in range(600):
                progress("features", 0.5)
                threading.Event().wait(0.05)
        finally:
            ended.set()

    upload(page, small_clip)
    expect(page.locator("#original video")).to_be_visible(timeout=LONG)
    with monkeypatch.context() as patch:
        patch.setattr(compute, "run_analysis", endless)
        page.click("#segment")
        assert started.wait(20)
        expect(page.get_by_text("features", exact=False).first).to_be_visible()
        page.click("#cancel")
        assert ended.wait(10)
    expect(page.get_by_test_id("toast-body")).to_have_count(1)
    expect(page.get_by_test_id("toast-text")).to_have_text(strings.CANCELLED)
    expect(page.locator("#frame")).to_be_hidden()
    page.click("#segment")
    expect_result(page)


def test_cancel_takes_a_run_out_of_the_queue(
    opened: Open, small_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = opened(), opened()
    runs = threading.Semaphore(0)

    def endless(clip, settings, progress):
        runs.release()
        while True:
            progress("features", 0.5)
            threading.Event().wait(0.05)

    for page in (first, second):
        upload(page, small_clip)
        expect(page.locator("#original video")).to_be_visible(timeout=LONG)
    with monkeypatch.context() as patch:
        patch.setattr(compute, "run_analysis", endless)
        first.click("#segment")
        assert runs.acquire(timeout=20)
        second.click("#segment")
        expect(second.get_by_text("queue", exact=False).first).to_be_visible()
        second.click("#cancel")
        expect(second.get_by_text("queue", exact=False)).to_have_count(0)
        first.click("#cancel")
        expect(first.get_by_test_id("toast-text")).to_have_text(strings.CANCELLED)
        assert not runs.acquire(timeout=2)  # the second one never begins
    second.click("#segment")
    expect_result(second)


def test_cancel_without_a_run_does_nothing(page: Page) -> None:
    page.click("#cancel")
    page.wait_for_timeout(300)
    expect_no_notice(page)


# ---- what cannot be used -----------------------------------------------------------------------


@in_both_widths
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


# ---- viewer ------------------------------------------------------------------------------------


@in_both_widths
def test_the_large_frame_fills_its_column(segmented: Page) -> None:
    for name in ("#frame", "#heat"):
        picture = segmented.locator(f"{name} img").bounding_box()
        column = segmented.locator(name).bounding_box()
        assert picture["width"] > 0.95 * column["width"]
        assert picture["width"] / picture["height"] == pytest.approx(128 / 96, rel=0.02)


def test_the_time_slider_changes_frame_and_heatmap(segmented: Page) -> None:
    frame, heat = segmented.locator("#frame img"), segmented.locator("#heat img")
    before = source_of(frame)
    changes(heat, lambda: set_number(segmented, "#position", 0))
    expect_another(frame, before)
    expect_no_notice(segmented)


def test_arrow_keys_step_through_time_but_not_while_typing(segmented: Page) -> None:
    frame, start = segmented.locator("#frame img"), number_of(segmented, "#position")
    segmented.locator("h1").click()
    changes(frame, lambda: segmented.keyboard.press("ArrowRight"))
    assert number_of(segmented, "#position") == start + 1
    changes(frame, lambda: segmented.keyboard.press("ArrowLeft"))
    assert number_of(segmented, "#position") == start
    for _ in range(9):
        segmented.keyboard.press("ArrowLeft")
    expect(segmented.locator("#position input[type=number]")).to_have_value("0")
    open_tab(segmented, "Objects")
    segmented.locator("#objects input").first.focus()
    segmented.keyboard.press("ArrowRight")
    segmented.wait_for_timeout(200)
    assert number_of(segmented, "#position") == 0
    expect_no_notice(segmented)


def test_a_slider_that_is_dragged_fast_ends_where_it_was_let_go(segmented: Page) -> None:
    slider = segmented.locator("#position input[type=range]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    y = box["y"] + box["height"] / 2
    segmented.mouse.move(box["x"] + 5, y)
    segmented.mouse.down()
    for i in range(40):
        segmented.mouse.move(box["x"] + box["width"] * abs(np.sin(i / 4)), y)
    segmented.mouse.move(box["x"] + box["width"] + 5, y)
    segmented.mouse.up()
    expect(segmented.locator("#position input[type=number]")).to_have_value("3")
    segmented.wait_for_timeout(700)
    last = pixels_of(segmented.locator("#frame img"))
    for position in (2, 3):
        changes(
            segmented.locator("#frame img"),
            lambda position=position: set_number(segmented, "#position", position),
        )
    np.testing.assert_array_equal(pixels_of(segmented.locator("#frame img")), last)
    expect_no_notice(segmented)


def test_original_compare_and_objects(segmented: Page) -> None:
    frame, both = segmented.locator("#frame"), segmented.locator("#compare-frame")
    painted = pixels_of(frame.locator("img"))
    changes(frame.locator("img"), segmented.locator("#view input[value=original]").check)
    original = pixels_of(frame.locator("img"))
    assert abs(original - painted).max() > 30
    segmented.locator("#view input[value=compare]").check()
    expect(both).to_be_visible()
    expect(both.locator("img")).to_have_count(2)
    expect(frame).to_be_hidden()
    segmented.locator("#view input[value=objects]").check()
    expect(frame.locator("img")).to_be_visible()
    expect(both).to_be_hidden()
    expect_no_notice(segmented)


def test_style_opacity_and_background_repaint_the_frame(segmented: Page) -> None:
    frame, overlay = segmented.locator("#frame img"), segmented.locator("#overlay video")
    changes(frame, lambda: set_number(segmented, "#clusters", 8))
    for style in ("fills", "outlines", "both"):
        video = source_of(overlay)
        changes(frame, segmented.locator(f"#style input[value={style}]").check)
        expect_another(overlay, video)
    changes(frame, lambda: set_number(segmented, "#opacity", 0.9))
    before = source_of(overlay)
    changes(frame, segmented.locator("#background input").check)
    expect_another(overlay, before)
    expect_no_notice(segmented)


# ---- objects -----------------------------------------------------------------------------------


@pytest.fixture
def listed(segmented: Page) -> Page:
    """The list of many clusters, with those of the background in view."""
    open_tab(segmented, "Objects")
    set_number(segmented, "#clusters", 20)
    expect_clusters(segmented, 20)
    segmented.locator("#objects summary").click()
    return segmented


def expect_clusters(page: Page, count: int) -> None:
    """The list is that of so many clusters, with those of the background."""
    expect(page.locator("#objects li")).to_have_count(count)


def objects(page: Page) -> Locator:
    """The rows of those that are taken for objects."""
    return page.locator("#objects ul:not(details ul) > li")


def row_of(page: Page, cluster: int) -> Locator:
    return page.locator(f"#objects li:has(input[data-id='{cluster}'])")


def number_in(row: Locator) -> int:
    """The cluster that a row is about."""
    return int(row.locator("input").get_attribute("data-id"))


def merge(row: Locator, into: str) -> None:
    """Choose from the menu, which is filled when it is used."""
    row.locator("select").focus()
    row.locator("select").select_option(label=into)


def press(page: Page, name: str) -> None:
    """One of the buttons above the list."""
    page.locator("#objects").get_by_role("button", name=name, exact=True).click()


@in_both_widths
def test_every_cluster_has_picture_colour_share_and_frames(listed: Page) -> None:
    outside = listed.locator("#objects").bounding_box()
    assert 0 < objects(listed).count() < listed.locator("#objects li").count()
    for row in listed.locator("#objects li").all():
        assert row.locator("img").evaluate("image => image.naturalWidth") > 0
        expect(row).to_contain_text(re.compile(r"\d+\.\d% of the area, \d frames"))
        assert row.locator("i").evaluate("e => getComputedStyle(e).backgroundColor") != ""
        for part in row.locator("> *, div > *").all():
            box = part.bounding_box()
            assert box["x"] + box["width"] <= outside["x"] + outside["width"] + 1
        for button in row.locator("button").all():
            assert button.evaluate("e => e.scrollWidth <= e.clientWidth")  # its word is not cut


def test_only_objects_can_be_hidden(listed: Page) -> None:
    expect(listed.locator("#objects button[data-action=hide]")).to_have_count(
        objects(listed).count()
    )
    expect(listed.locator("#objects button[data-action=split]")).to_have_count(20)


def test_an_object_is_hidden_shown_alone_and_shown_again(listed: Page) -> None:
    frame, row = listed.locator("#frame img"), objects(listed).first
    another = listed.locator("#objects details li").first
    changes(frame, another.get_by_role("button", name="Make object").click)
    expect(objects(listed)).to_have_count(2)
    changes(frame, row.get_by_role("button", name="Hide").click)
    expect(row).to_have_class(re.compile("unseen"))
    changes(frame, row.get_by_role("button", name="Show").click)
    changes(frame, row.get_by_role("button", name="Only this").click)
    expect(listed.locator("#objects li.unseen")).to_have_count(
        listed.locator("#objects li").count() - 1
    )
    expect(row.get_by_role("button", name="Only this")).to_have_attribute("aria-pressed", "true")
    changes(frame, row.get_by_role("button", name="Only this").click)
    expect(listed.locator("#objects li.unseen")).to_have_count(0)
    expect(listed.locator("#objects button[data-action=undo]")).to_have_text("Undo role change")
    expect_no_notice(listed)


def test_a_role_change_reaches_list_frame_and_video(listed: Page) -> None:
    frame, overlay = listed.locator("#frame img"), listed.locator("#overlay video")
    scenery = listed.locator("#objects details li").first
    number, count, before = number_in(scenery), objects(listed).count(), source_of(overlay)
    changes(frame, scenery.get_by_role("button", name="Make object").click)
    expect_another(overlay, before)
    expect(objects(listed)).to_have_count(count + 1)
    expect(row_of(listed, number).locator("input")).to_have_value(f"Object {number + 1}")
    expect(listed.locator("#notice")).to_contain_text(f"{count + 1} objects")
    back = row_of(listed, number).get_by_role("button", name="Make background")
    changes(frame, back.click)
    expect(objects(listed)).to_have_count(count)
    expect_no_notice(listed)


@in_both_widths
def test_edits_go_into_downloads_and_code_and_are_undone_one_by_one(listed: Page) -> None:
    rows, numbers = listed.locator("#objects li"), [4, 6, 7]
    named, scenery, merged = (row_of(listed, number) for number in numbers)
    named.locator("input").fill("Red box")
    named.locator("input").press("Enter")
    expect(named.locator("img")).to_have_attribute("alt", "Red box")
    merge(merged, "Red box")
    expect(rows).to_have_count(19)
    scenery.get_by_role("button", name="Make object").click()
    expect(scenery.locator("input")).to_have_value("Object 7")

    open_tab(listed, "Download")
    listed.click("#prepare")
    masks = json.loads(download(listed, "masks.json"))
    assert masks["clusters"][4]["name"] == "Red box"
    assert not masks["clusters"][6]["background"]
    assert 7 not in {annotation["cluster"] for annotation in masks["annotations"]}
    assert json.loads(download(listed, "summary.json"))["names"]["4"] == "Red box"
    code = listed.locator("#code")
    for call in ("Edit.name(4, 'Red box')", "Edit.merge(7, 4)", "Edit.role(6, 'object')"):
        expect(code).to_contain_text(call)

    open_tab(listed, "Objects")
    press(listed, "Undo role change")
    expect(scenery.locator("input")).to_have_value("Background 7")
    press(listed, "Undo merge")
    expect(rows).to_have_count(20)
    expect(named.locator("input")).to_have_value("Red box")
    press(listed, "Undo rename")
    expect(named.locator("input")).not_to_have_value("Red box")
    expect(listed.locator("#objects button[data-action=undo]")).to_be_disabled()
    open_tab(listed, "Download")  # what was prepared is out of date
    expect(listed.locator("#downloads")).to_be_hidden()
    expect_no_notice(listed)


def test_a_split_is_undone_made_again_and_merged(listed: Page) -> None:
    rows, whole = listed.locator("#objects li"), listed.locator("#objects li").first
    number = number_in(whole)
    about = whole.locator("small").inner_text()
    whole.get_by_role("button", name="Split").click()
    expect(row_of(listed, 20)).to_have_count(1)
    parts = rows.count()
    assert parts > 20
    press(listed, "Undo split")
    expect(rows).to_have_count(20)
    press(listed, "Redo split")
    expect(rows).to_have_count(parts)
    for part in range(20, parts):
        name = row_of(listed, number).locator("input").input_value()
        merge(row_of(listed, part), name)
        expect(rows).to_have_count(20 + parts - 1 - part)
    expect(row_of(listed, number).locator("small")).to_have_text(about)
    press(listed, "Undo merge")
    expect(rows).to_have_count(21)
    expect_no_notice(listed)


def test_a_split_waits_while_the_granularity_is_another(listed: Page) -> None:
    listed.locator("#objects li").first.get_by_role("button", name="Split").click()
    expect(row_of(listed, 20)).to_have_count(1)
    set_number(listed, "#clusters", 10)
    expect_clusters(listed, 10)
    press(listed, "Undo split (at 20 clusters)")
    set_number(listed, "#clusters", 20)
    expect_clusters(listed, 20)
    expect_no_notice(listed)


def test_a_cluster_of_one_part_is_said_to_be_one(listed: Page, served: Service) -> None:
    analysis = list(served.store._results.values())[-1].analysis

    def divided(cluster: int, cut: int) -> bool:
        return analysis.edited(Edit.split(cluster, at=cut)).segment(n_clusters=cut).clusters > cut

    pairs = ((cluster, cut) for cut in range(20, 60) for cluster in range(cut))
    single, cut = next(pair for pair in pairs if not divided(*pair))
    set_number(listed, "#clusters", cut)
    expect_clusters(listed, cut)
    row = row_of(listed, single)
    name = row.locator("input").input_value()
    row.get_by_role("button", name="Split").click()
    expect(listed.get_by_test_id("toast-text")).to_have_text(strings.one_part(name))
    expect(listed.locator("#objects button[data-action=undo]")).to_be_disabled()
    expect_clusters(listed, cut)


def test_the_focus_stays_with_its_object_and_the_background_stays_open(listed: Page) -> None:
    row = listed.locator("#objects details li").nth(2)
    number, count = number_in(row), objects(listed).count()
    row.get_by_role("button", name="Make object").focus()
    listed.keyboard.press("Enter")
    expect(objects(listed)).to_have_count(count + 1)
    expect(row_of(listed, number).locator("button[data-action=role]")).to_be_focused()
    expect(listed.locator("#objects details")).to_have_attribute("open", "")
    listed.locator("#objects summary").focus()
    listed.keyboard.press("Enter")
    press(listed, "Undo role change")
    expect(objects(listed)).to_have_count(count)
    expect(listed.locator("#objects details")).not_to_have_attribute("open", "")
    expect_no_notice(listed)


def test_edits_in_quick_succession_are_all_kept(listed: Page) -> None:
    count = objects(listed).count()
    listed.evaluate(
        "() => document.querySelectorAll('#objects details button[data-action=role]')"
        ".forEach((button, i) => i < 3 && button.click())"
    )
    expect(objects(listed)).to_have_count(count + 3, timeout=LONG)
    expect_no_notice(listed)


def test_a_name_is_text_whatever_it_says(listed: Page) -> None:
    evil = '"><img src=x onerror="window.hacked=1"><b>'
    pictures = listed.locator("#objects img").count()
    name = listed.locator("#objects li input").first
    name.fill(evil)
    name.press("Enter")
    expect(listed.locator("#objects img").first).to_have_attribute("alt", evil)
    listed.locator("#objects select").nth(1).focus()
    expect(listed.locator("#objects option", has_text="onerror")).to_have_count(1)
    expect(name).to_have_value(evil)
    expect(listed.locator("#objects img")).to_have_count(pictures)
    assert listed.evaluate("window.hacked") is None
    expect_no_notice(listed)


def test_granularity_changes_the_list_of_objects_and_the_tree(listed: Page) -> None:
    for count in (2, 25):
        set_number(listed, "#clusters", count)
        expect_clusters(listed, count)
        open_tab(listed, "Hierarchy")
        expect(listed.locator("#tree svg title").first).to_contain_text(f"{count} clusters at")
        open_tab(listed, "Objects")


# ---- hierarchy ---------------------------------------------------------------------------------


@pytest.fixture
def tree(segmented: Page) -> Page:
    """The page with the hierarchy in view."""
    open_tab(segmented, "Hierarchy")
    expect(segmented.locator("#tree svg")).to_be_visible()
    return segmented


@in_both_widths
def test_a_click_on_a_branch_shows_its_patches_over_time(tree: Page) -> None:
    thumbnail = tree.locator("#tree image[data-node]").first
    expect(thumbnail).to_be_visible()
    assert thumbnail.get_attribute("href").startswith("data:image/jpeg")
    tree.locator("#tree").scroll_into_view_if_needed()
    thumbnail.click()
    tiles = tree.locator("#node-tiles img")
    expect(tiles).to_have_count(4)
    before = source_of(tiles.first)
    places = tree.locator("#tree path[data-node]").evaluate_all(
        "paths => paths.map(path => {"
        " const p = path.getPointAtLength(2).matrixTransform(path.getScreenCTM());"
        " return [p.x, p.y] })"
    )
    place = next(p for p in places if p[0] < tree.viewport_size["width"] - 10)  # others: scroll
    tree.mouse.click(place[0] + 2, place[1])  # a little beside it
    expect_another(tiles.first, before)
    expect_no_notice(tree)


@in_both_widths
def test_the_dashed_line_and_the_slider_are_one_thing(tree: Page) -> None:
    def line() -> tuple[float, float]:
        box = tree.locator("#tree line.cut").evaluate(
            "e => { const b = e.getBoundingClientRect(); return [b.x, b.y + b.height / 2] }"
        )
        return box[0] + 60, box[1]

    tree.locator("#tree").scroll_into_view_if_needed()
    frame, overlay = tree.locator("#frame img"), tree.locator("#overlay video")
    before, video = source_of(frame), source_of(overlay)
    first = number_of(tree, "#clusters")
    x, y = line()
    tree.mouse.move(x, y)
    tree.mouse.down()
    tree.mouse.move(x, y + 15, steps=4)
    tree.mouse.move(x, y + 45, steps=4)
    tree.mouse.up()
    expect(tree.locator("#clusters input[type=number]")).not_to_have_value(f"{first:g}")
    finer = number_of(tree, "#clusters")
    assert finer > first
    expect(tree.locator("#tree svg title").first).to_contain_text(f"{finer:g} clusters")
    expect_another(frame, before)
    expect_another(overlay, video)
    lowered = line()[1]
    assert lowered > y
    set_number(tree, "#clusters", 2)
    expect(tree.locator("#tree svg title").first).to_contain_text("2 clusters")
    assert line()[1] < lowered
    expect_no_notice(tree)


def test_the_line_may_be_let_go_outside_the_tree(tree: Page) -> None:
    tree.locator("#tree").scroll_into_view_if_needed()
    box = tree.locator("#tree line.cut").bounding_box()
    tree.mouse.move(box["x"] + 60, box["y"] + 1)
    tree.mouse.down()
    tree.mouse.move(box["x"] + 60, 2, steps=5)
    tree.mouse.up()
    expect(tree.locator("#clusters input[type=number]")).to_have_value("1")
    expect_no_notice(tree)


def test_the_levels_play(tree: Page) -> None:
    tree.click("#play")
    expect(tree.locator("#levels video")).to_be_visible()
    expect_to_play(tree.locator("#levels video"))
    expect_no_notice(tree)


# ---- attention ---------------------------------------------------------------------------------


@in_both_widths
def test_the_ring_on_the_heatmap_lies_where_the_frame_was_clicked(segmented: Page) -> None:
    heat = segmented.locator("#heat img")
    changes(heat, lambda: click_at(segmented.locator("#frame img"), 0.25, 0.75))
    picture = pixels_of(heat).mean(2)
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


def test_several_points_have_a_plot_and_a_colour_each_until_they_are_cleared(
    segmented: Page,
) -> None:
    frame, heat = segmented.locator("#frame img"), segmented.locator("#heat img")
    plots, dots = segmented.locator("#caption svg"), segmented.locator("#caption .dot")
    expect(plots).to_have_count(1)
    expect(dots).to_have_count(0)
    segmented.locator("#keep input").check()
    changes(heat, lambda: click_at(frame, 0.2, 0.2))
    expect(plots).to_have_count(2)
    changes(heat, lambda: click_at(frame, 0.8, 0.8))
    expect(plots).to_have_count(3)
    colours = {dot.get_attribute("style") for dot in dots.all()}
    assert len(colours) == 3
    expect(segmented.locator("#caption")).to_contain_text("of its attention stays in that frame")
    segmented.locator("#keep input").uncheck()
    changes(heat, lambda: click_at(frame, 0.5, 0.5))
    expect(plots).to_have_count(1)
    segmented.click("#clear")
    expect(heat).to_have_count(0)
    expect(segmented.locator("#caption")).to_contain_text("Click a patch")
    expect(segmented.locator("#tiles")).to_be_hidden()
    expect(segmented.locator("#heat-video")).to_be_hidden()
    click_at(frame, 0.3, 0.3)
    expect(heat).to_be_visible()
    expect_no_notice(segmented)


def test_colours_opacity_percentile_and_grid_repaint_the_heatmap(segmented: Page) -> None:
    heat = segmented.locator("#heat img")
    segmented.get_by_text(strings.HEAT_STYLE).click()
    changes(heat, lambda: choose(segmented, "#colours", "viridis"))
    changes(heat, lambda: set_number(segmented, "#heat-opacity", 0.3))
    changes(heat, lambda: set_number(segmented, "#percentile", 92))
    changes(heat, segmented.locator("#grid input").check)
    expect_no_notice(segmented)


def test_sources_heads_and_frames_are_shown_side_by_side_and_can_be_picked(
    segmented: Page,
) -> None:
    tiles = segmented.locator("#tiles button")
    expect(tiles).to_have_count(4)  # the frames of the clip
    frame, heat = segmented.locator("#frame img"), segmented.locator("#heat img")
    changes(frame, tiles.nth(3).click)
    expect(segmented.locator("#position input[type=number]")).to_have_value("3")
    segmented.locator("#compare input[value=sources]").check()
    for source, name in strings.SOURCES.items():
        if source != "correlator":  # there is no trained block
            expect(segmented.locator("#tiles")).to_contain_text(name)
    changes(heat, segmented.locator("#source input[value=untrained]").check)
    segmented.locator("#compare input[value=heads]").check()
    expect(tiles).to_have_count(8)
    changes(heat, tiles.nth(5).click)
    expect(segmented.locator("#head input")).to_have_value("Head 5")
    expect_no_notice(segmented)


def test_a_source_with_fewer_heads_can_follow_any_head(segmented: Page) -> None:
    heat, video = segmented.locator("#heat img"), segmented.locator("#heat-video video")
    before = source_of(video)
    changes(heat, segmented.locator("#source input[value=untrained]").check)
    expect_another(video, before)  # or its arrival may close the list that is opened next
    before = source_of(video)
    changes(heat, lambda: choose(segmented, "#head", "Head 7"))
    expect_another(video, before)
    changes(heat, segmented.locator("#source input[value=key-similarity]").check)
    expect(segmented.locator("#head input")).to_have_value("Mean of all")
    expect_no_notice(segmented)


def test_a_click_into_the_heatmap_tells_weight_and_rank(segmented: Page) -> None:
    weight = segmented.locator("#weight")
    expect(weight).to_have_text(strings.WEIGH)
    click_at(segmented.locator("#heat img"), 0.5, 0.5)
    expect(weight).to_contain_text(
        re.compile(r"receives \d+\.\d+% of the attention: rank \d+ of \d+")
    )
    first = weight.inner_text()
    click_at(segmented.locator("#heat img"), 0.05, 0.05)
    expect(weight).not_to_have_text(first)
    expect_no_notice(segmented)


def test_a_patch_can_be_chosen_without_a_mouse(segmented: Page) -> None:
    heat = segmented.locator("#heat img")
    picture = segmented.locator("#frame .image-container > button")
    picture.focus()
    for _ in range(6):
        segmented.keyboard.press("Shift+ArrowUp")
    expect(segmented.locator(".bavos-point")).to_be_visible()
    changes(heat, lambda: segmented.keyboard.press("Enter"))
    expect(segmented.locator("#caption")).to_contain_text("Patch in row")
    expect_no_notice(segmented)


# ---- adapting ----------------------------------------------------------------------------------


def test_adapting_is_watched_and_undone(segmented: Page) -> None:
    expect(segmented.locator("#source input[value=key-similarity]")).to_be_checked()
    open_tab(segmented, "Adapt")
    expect(segmented.locator("#undo")).to_be_disabled()
    set_number(segmented, "#steps", 20)
    segmented.click("#adapt")
    expect(segmented.locator("#seen img")).to_be_visible(timeout=LONG)
    status = segmented.locator("#adapt-status")
    expect(status).to_contain_text("Trained for 20 steps in", timeout=LONG)
    expect(status).to_contain_text("downloads", timeout=LONG)
    expect(segmented.locator("#losses canvas, #losses svg").first).to_be_visible()
    expect(segmented.locator("#undo")).to_be_enabled()
    open_tab(segmented, "Attention")
    expect(segmented.locator("#source input[value=correlator]")).to_be_checked()
    open_tab(segmented, "Adapt")
    segmented.click("#undo")
    expect(segmented.locator("#undo")).to_be_disabled()
    open_tab(segmented, "Attention")
    expect(segmented.locator("#source input[value=key-similarity]")).to_be_checked()
    expect_no_notice(segmented)


def test_adapting_can_be_stopped(segmented: Page) -> None:
    open_tab(segmented, "Adapt")
    set_number(segmented, "#steps", 500)
    segmented.click("#adapt")
    expect(segmented.locator("#adapt-status")).to_contain_text("Step ", timeout=LONG)
    segmented.click("#stop")
    expect(segmented.locator("#adapt-status")).to_contain_text("of 500 steps in", timeout=LONG)
    expect(segmented.locator("#undo")).to_be_enabled(timeout=LONG)
    expect_no_notice(segmented)


# ---- code --------------------------------------------------------------------------------------


def test_the_code_follows_what_is_shown(segmented: Page, server: str) -> None:
    open_tab(segmented, "Download")
    code = segmented.locator("#code")
    expect(code).to_contain_text("python -m bavos_core segment")
    expect(code).to_contain_text(f'Client("{server.rstrip("/")}')
    expect(code).to_contain_text("--frames 6")
    set_number(segmented, "#clusters", 7)
    expect(code).to_contain_text("segment(n_clusters=7)")
    python = code.locator(".cm-content").inner_text().split("# Python")[1].split("# This")[0]
    compile(python, "code", "exec")
    expect_no_notice(segmented)


# ---- for everybody -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opened", "theme"), [("wide", "light"), ("narrow", "dark")], indirect=["opened"]
)
def test_axe_finds_nothing_serious(opened: Open, small_clip: Path, axe: str, theme: str) -> None:
    page = opened(f"/?__theme={theme}")
    found = serious(page, axe, "at first")
    upload(page, small_clip)
    expect(page.locator("#original video")).to_be_visible(timeout=LONG)
    page.click("#segment")
    expect_result(page)
    page.locator("#keep input").check()
    click_at(page.locator("#frame img"), 0.2, 0.2)
    expect(page.locator("#caption .dot")).to_have_count(2)
    page.get_by_text(strings.HEAT_STYLE).click()
    found += serious(page, axe, "Attention")
    page.locator("#view input[value=compare]").check()
    expect(page.locator("#compare-frame")).to_be_visible()
    open_tab(page, "Objects")
    page.locator("#objects summary").click()
    page.locator("#objects li button").first.click()
    expect(page.locator("#objects li.unseen")).to_have_count(1)
    found += serious(page, axe, "Objects")
    open_tab(page, "Hierarchy")
    page.click("#play")
    expect(page.locator("#levels video")).to_be_visible(timeout=LONG)
    found += serious(page, axe, "Hierarchy")
    open_tab(page, "Adapt")
    set_number(page, "#steps", 2)
    page.click("#adapt")
    expect(page.locator("#undo")).to_be_enabled(timeout=LONG)
    found += serious(page, axe, "Adapt")
    open_tab(page, "Download")
    page.click("#prepare")
    expect(page.locator('#downloads a[download="bavos.zip"]')).to_be_visible(timeout=LONG)
    found += serious(page, axe, "Download")
    page.click("#cancel")
    assert not found, "\n".join(found)


def serious(page: Page, axe: str, where: str) -> list[str]:
    """What axe calls serious or critical, one line each."""
    page.wait_for_timeout(400)  # transitions of colours
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{where}: {rule['id']} ({rule['impact']}) {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def test_the_server_forgets_no_jobs(served: Service) -> None:
    """After all of the above nothing is left running."""
    assert not served.runs.active
    assert not served.lane.busy
