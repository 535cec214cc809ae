"""Attention in the mounted viewer: it follows the pointer, pins stay, panes compare."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from .scenes import leaf_map


@pytest.fixture
def attending(page: Page) -> Page:
    """The viewer with its tab of attention, showing attention; the pointer is elsewhere."""
    page.click("#tab-attention")
    page.evaluate("viewer.store.set({ view: 'attention', time: 0 })")
    expect(page.locator(".head-maps button")).to_have_count(3)
    return page


def picture(page: Page, pane: int = 0) -> np.ndarray:
    """The pixels of a pane's canvas (H, W, 3), painted to the end."""
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")
    canvas = page.locator(".stage canvas.canvas").nth(pane)
    address = canvas.evaluate("(canvas) => canvas.toDataURL()")
    data = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)


def disc(number: int, frame: int = 0) -> tuple[float, float]:
    """The middle of a disc in a frame, y and x in 0 … 1."""
    rows, columns = np.nonzero(leaf_map(frame) == 6 + number)
    return rows.mean() / 180, columns.mean() / 320


def point_at(page: Page, y: float, x: float, pane: int = 0, *, click: bool = False) -> None:
    view = page.locator(".stage .view").nth(pane)
    box = view.bounding_box()
    assert box
    place = box["x"] + x * box["width"], box["y"] + y * box["height"]
    page.mouse.move(*place)
    if click:
        page.mouse.click(*place)


def heat_inside(before: np.ndarray, after: np.ndarray, number: int) -> tuple[float, float]:
    """How much more red a picture has become on a disc, and elsewhere."""
    shape = after.shape[:2]
    inside = np.asarray(Image.fromarray(leaf_map(0) == 6 + number).resize(shape[::-1]))
    redder = (after - before)[..., 0] - (after - before)[..., 2]
    return redder[inside].mean(), redder[~inside].mean()


def test_heat_follows_the_pointer(attending: Page) -> None:
    plain = picture(attending)
    for number in (1, 4):
        point_at(attending, *disc(number))
        on_it, elsewhere = heat_inside(plain, picture(attending), number)
        assert on_it > elsewhere + 15
    attending.mouse.move(5, 5)
    assert abs(picture(attending) - plain).mean() < 0.5


def test_the_colour_bar_has_numbers_and_a_flat_row_stays_cold(attending: Page) -> None:
    point_at(attending, *disc(1))
    ticks = attending.locator(".ticks")
    expect(ticks).to_contain_text("× uniform =")
    peaked = float(ticks.locator("span").last.inner_text().split("×")[0])
    attending.get_by_role("radio", name="Untrained correlator").check()
    point_at(attending, *disc(4))
    expect(ticks.locator("span").last).to_contain_text("6.0 × uniform")
    assert peaked > 6
    point_at(attending, *disc(1))
    flat = picture(attending)
    assert flat[..., 0].max() - flat[..., 2].max() < 60  # no orange


def test_a_click_pins_and_several_pins_have_colours_lines_and_rows(attending: Page) -> None:
    for number in (1, 4, 6):
        point_at(attending, *disc(number), click=True)
    attending.mouse.move(5, 5)
    rows = attending.locator(".pins li")
    expect(rows).to_have_count(3)
    dots = rows.locator(".dot").evaluate_all("(dots) => dots.map((dot) => dot.style.background)")
    assert len(set(dots)) == 3
    lines = attending.evaluate("viewer.state.pins.length")
    assert lines == 3
    rows.first.get_by_role("button", name="Remove pin 1").click()
    expect(rows).to_have_count(2)
    attending.get_by_role("button", name="Remove all").click()
    expect(rows).to_have_count(0)


def test_numbers_of_a_pin_come_from_the_server_where_there_is_one(attending: Page) -> None:
    point_at(attending, *disc(1), click=True)
    numbers = attending.locator(".pins .numbers")
    attending.get_by_role("button", name="Numbers of pin 1").click()
    expect(numbers).to_contain_text("nats")
    expect(numbers).to_contain_text("compact maps")
    expect(numbers.locator("tbody tr")).to_have_count(5)
    attending.get_by_role("button", name="Numbers of pin 1").click()
    expect(numbers).to_be_hidden()
    attending.evaluate(
        """host.exact = async (asked) => {
          host.last = asked;
          const row = new Array(6 * 9 * 16).fill(0);
          row[0] = 1;
          return { row };
        }"""
    )
    attending.get_by_role("button", name="Numbers of pin 1").click()
    expect(numbers).to_contain_text("Exact, from the server")
    expect(numbers).to_contain_text("Entropy 0.00 nats")
    asked = attending.evaluate("host.last")
    assert asked["source"] == "cross-frame" and asked["head"] is None and asked["sample"] == 0


def test_a_head_is_chosen_by_its_map(attending: Page) -> None:
    point_at(attending, *disc(1), click=True)
    attending.get_by_role("button", name="Head 1").click()
    assert attending.evaluate("viewer.state.head") == 1
    expect(attending.get_by_role("button", name="Head 1")).to_have_attribute("aria-pressed", "true")
    attending.get_by_role("radio", name="Key similarity").check()
    expect(attending.locator(".heads")).to_be_hidden()
    assert attending.evaluate("viewer.state.head") == -1


def test_mass_darkens_what_lies_outside(attending: Page) -> None:
    point_at(attending, *disc(1), click=True)
    attending.mouse.move(5, 5)
    whole = picture(attending)
    attending.get_by_role("button", name="60 %").click()
    assert attending.evaluate("viewer.state.mass") == 0.6
    on_it, elsewhere = (
        (picture(attending) - whole)[mask].mean() for mask in masks(whole.shape[:2], 1)
    )
    assert elsewhere < -15 and on_it > elsewhere + 10


def masks(shape: tuple[int, int], number: int) -> tuple[np.ndarray, np.ndarray]:
    inside = np.asarray(Image.fromarray(leaf_map(0) == 6 + number).resize(shape[::-1]))
    return inside, ~inside


@pytest.mark.parametrize("reading", ["PCA", "k-means", "Similarity"])
def test_readings_are_painted(attending: Page, reading: str) -> None:
    plain = picture(attending)
    attending.get_by_role("radio", name=reading, exact=True).check(force=True)
    point_at(attending, *disc(1))
    attending.wait_for_timeout(300)
    assert abs(picture(attending) - plain).mean() > 8


def test_fig_1_shows_sources_side_by_side_at_the_same_point(attending: Page) -> None:
    attending.get_by_role("button", name="Fig. 1").click()
    panes = attending.locator(".stage .view:visible")
    expect(panes).to_have_count(2)
    expect(attending.locator(".caption")).to_have_text("Frame-wise (Fig. 1b)")
    point_at(attending, *disc(1))
    first, second = picture(attending), picture(attending, 1)
    assert first.shape == second.shape and abs(first - second).mean() > 2
    expect(panes.nth(1).locator(".point")).to_be_visible()
    attending.get_by_label("What this pane shows").first.select_option("objects")
    assert attending.evaluate("viewer.state.compare.choice") == "objects"
    attending.get_by_role("button", name="Close this pane").first.click()
    expect(panes).to_have_count(1)
    assert attending.evaluate("viewer.state.compare") is None


def test_fig_2_shows_clusters_beside_k_means(attending: Page) -> None:
    attending.get_by_role("button", name="Fig. 2").click()
    expect(attending.locator(".caption")).to_have_text("Objects")
    expect(attending.get_by_label("What this pane shows").first).to_have_value("kmeans")
    expect(attending.get_by_label("Head in this pane").first).to_be_hidden()


def test_the_view_is_saved_as_a_gif(attending: Page, tmp_path: Path) -> None:
    point_at(attending, *disc(1), click=True)
    with attending.expect_download() as saved:
        attending.get_by_role("button", name="Record as GIF").click()
    assert saved.value.suggested_filename == "discs-attention.gif"
    saved.value.save_as(tmp_path / "view.gif")
    image = Image.open(tmp_path / "view.gif")
    assert image.size == (320, 180) and image.n_frames == 11
    expect(attending.get_by_role("button", name="Record as GIF")).to_be_visible()


def test_recording_is_cancelled(attending: Page) -> None:
    attending.evaluate(
        """() => {
          const all = document.querySelector('#viewer').shadowRoot.querySelector('.record');
          const press = (text) => [...all.children].find((b) => b.textContent === text).click();
          window.saved = 0;
          HTMLAnchorElement.prototype.click = () => { window.saved += 1; };
          press('GIF');
          press('Cancel');
        }"""
    )
    expect(attending.get_by_role("button", name="Record as GIF")).to_be_visible()
    expect(attending.get_by_role("progressbar")).to_be_hidden()
    assert attending.evaluate("window.saved") == 0


def test_the_view_is_saved_as_a_film(attending: Page, tmp_path: Path) -> None:
    with attending.expect_download() as saved:
        attending.get_by_role("button", name="Record as").first.click()
    saved.value.save_as(tmp_path / "view")
    assert saved.value.suggested_filename.startswith("discs-attention.")
    assert (tmp_path / "view").stat().st_size > 2000


def test_a_reading_that_there_is_not_says_why(attending: Page) -> None:
    attending.get_by_role("radio", name="CLS", exact=True).check(force=True)
    expect(attending.locator(".note")).to_have_text("This backbone has no [CLS] token.")
    attending.get_by_role("radio", name="PCA", exact=True).check(force=True)
    expect(attending.locator(".note")).to_be_empty()
    attending.evaluate("viewer.store.set({ reading: 'attention', source: 'correlator' })")
    point_at(attending, *disc(1))
    note = attending.locator(".note")
    expect(note).to_have_text("There is no part attention/correlator.", timeout=10000)


def test_another_block_of_the_network_shows_its_own_attention(attending: Page) -> None:
    plain = picture(attending)
    attending.get_by_label("Block").select_option("0")
    point_at(attending, *disc(1))
    flat, _ = heat_inside(plain, picture(attending), 1)  # the scene's block 0 attends evenly
    attending.get_by_label("Block").select_option("2")
    point_at(attending, *disc(1))
    sharp, _ = heat_inside(plain, picture(attending), 1)
    assert sharp > flat + 15
    attending.evaluate("viewer.store.set({ source: 'untrained' })")
    expect(attending.get_by_label("Block")).to_be_hidden()


def test_similarity_compares_keys_queries_or_values(attending: Page) -> None:
    names = "[[null, 'key'], [0, 'key'], [null, 'value'], [2, 'key'], [0, 'query']]"
    found = attending.evaluate(
        f"{names}.map(([block, vectors]) => Bavos.partOf("
        "{ source: 'framewise', reading: 'cosine', block, vectors }, { block: 2 }))"
    )
    expected = ["key-similarity", "block-0-key", "block-2-value", "key-similarity", "block-0-query"]
    assert found == expected
    attending.evaluate("viewer.store.set({ reading: 'cosine' })")
    for vectors in ("values", "keys"):
        attending.get_by_label("Vectors").select_option(label=vectors)
        plain = picture(attending)
        point_at(attending, *disc(1))
        assert abs(picture(attending) - plain).mean() > 1
        attending.mouse.move(5, 5)


def test_the_panel_of_attention_and_the_view_follow_each_other(page: Page) -> None:
    page.click("#tab-attention")
    assert page.evaluate("viewer.state.view") == "attention"
    page.click("#tab-objects")
    assert page.evaluate("viewer.state.view") == "objects"
    page.evaluate("viewer.store.set({ view: 'both' })")
    expect(page.locator("#panel-attention")).to_be_visible()
    page.click("#tab-attention")
    assert page.evaluate("viewer.state.view") == "both"
