"""The tree in the mounted viewer: its line, cutting and joining branches, playing levels."""

import pytest
from playwright.sync_api import Page, expect

from .scenes import LEAVES


def line(page: Page) -> tuple[float, float]:
    """Where the handle of the line is on the page: found by its colour."""
    x, y = page.evaluate(
        """() => {
          const canvas = viewer_root().querySelector('.hierarchy canvas');
          const { width, height } = canvas;
          const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
          const box = canvas.getBoundingClientRect();
          const column = width - 18;
          const rows = [];
          for (let y = 0; y < height; y++) {
            const at = (y * width + column) * 4;
            if (data[at] > 200 && data[at + 1] < 100 && data[at + 3] > 200) rows.push(y);
          }
          const y = (rows[0] + rows.at(-1)) / 2;
          return [box.left + column * box.width / width, box.top + y * box.height / height];
        }"""
    )
    return x, y


@pytest.fixture
def tree(page: Page) -> Page:
    """The viewer with a function that finds its shadow root."""
    page.evaluate("window.viewer_root = () => document.querySelector('#viewer').shadowRoot")
    expect(page.locator(".hierarchy canvas")).to_be_visible()
    page.wait_for_timeout(100)
    return page


def frame(page: Page) -> None:
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")


def test_everything_follows_while_the_line_is_dragged(tree: Page) -> None:
    tree.evaluate("window.cuts = []; viewer.store.subscribe((state) => cuts.push(state.n)); 0")
    x, y = line(tree)
    top = tree.locator(".hierarchy canvas").bounding_box()["y"]
    tree.mouse.move(x, y)
    tree.mouse.down()
    for step in range(1, 31):
        tree.mouse.move(x, y + (top + 8 - y) * step / 30)
        frame(tree)
    assert tree.evaluate("viewer.state.n") == 1
    tree.mouse.up()
    cuts = tree.evaluate("cuts")
    assert cuts == sorted(cuts, reverse=True) and len(set(cuts)) >= 3
    expect(tree.locator(".count")).to_have_text("1 cluster")


def test_buttons_and_slider_set_the_number_of_clusters(tree: Page) -> None:
    tree.get_by_role("button", name="More clusters").click()
    assert tree.evaluate("viewer.state.n") == 7
    slider = tree.get_by_role("slider", name="Number of clusters")
    slider.focus()
    tree.keyboard.press("ArrowLeft")
    tree.keyboard.press("ArrowLeft")
    assert tree.evaluate("viewer.state.n") == 5
    expect(slider).to_have_attribute("aria-valuetext", "5 clusters")
    tree.keyboard.press("End")
    assert tree.evaluate("viewer.state.n") == LEAVES
    expect(tree.get_by_role("button", name="More clusters")).to_be_disabled()


def test_a_key_finds_the_slider_where_the_state_is(tree: Page) -> None:
    found = tree.evaluate(
        """() => {
          const slider = viewer_root().querySelector('.hierarchy input');
          viewer.store.set({ n: 4 });  // shown with the next frame of the screen
          slider.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true }));
          return slider.value;
        }"""
    )
    assert found == "4"


def test_a_branch_is_selected_cut_and_joined_by_keyboard(tree: Page) -> None:
    tree.evaluate("viewer.store.set({ n: 3 })")
    tree.locator(".hierarchy canvas").focus()
    tree.keyboard.press("ArrowDown")  # the root, then its larger part
    tree.keyboard.press("ArrowDown")
    for _ in range(6):
        if len(tree.evaluate("viewer.state.selected")) == 1:
            break
        tree.keyboard.press("ArrowDown")
    cluster = tree.evaluate("viewer.state.selected")
    assert len(cluster) == 1
    expect(tree.get_by_role("button", name="Cut here")).to_be_visible()
    tree.keyboard.press("Enter")
    edits = tree.evaluate("viewer.state.edits")
    assert [edit["action"] for edit in edits] == ["split"] and edits[0]["at"] == 3
    assert edits[0]["cluster"] == cluster[0]
    expect(tree.get_by_role("button", name="Join")).to_be_visible()
    tree.keyboard.press("Enter")
    edits = tree.evaluate("viewer.state.edits")
    assert [edit["action"] for edit in edits] == ["split", "merge"]
    assert tree.evaluate("viewer.state.time") == 0  # the arrows stepped no frames


def test_pointing_at_a_branch_lights_its_cluster_up(tree: Page) -> None:
    box = tree.locator(".hierarchy canvas").bounding_box()
    tree.mouse.move(box["x"] + 60, box["y"] + box["height"] - 10)
    frame(tree)
    hovered = tree.evaluate("viewer.state.hovered")
    assert hovered is not None
    expect(tree.locator(".branch span")).to_contain_text("of all patches")
    tree.mouse.click(box["x"] + 60, box["y"] + box["height"] - 10)
    assert tree.evaluate("viewer.state.selected") == [hovered]
    tree.mouse.move(5, 5)
    frame(tree)
    assert tree.evaluate("viewer.state.hovered") is None


def test_levels_play_from_the_finest_to_one_and_come_back(tree: Page) -> None:
    tree.evaluate("window.cuts = []; viewer.store.subscribe((state) => cuts.push(state.n)); 0")
    button = tree.get_by_role("button", name="Levels")
    button.click()
    tree.wait_for_function("cuts.includes(1)", timeout=20000)
    tree.wait_for_function("viewer.state.n === 6", timeout=20000)
    cuts = tree.evaluate("cuts")
    assert cuts[0] == LEAVES and cuts[-1] == 6
    button.click()
    tree.get_by_role("button", name="Stop").click()
    assert tree.evaluate("viewer.state.n") == 6
