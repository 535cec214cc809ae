"""The picture: what is below the pointer, selecting, pins, the divider."""

from playwright.sync_api import Page, expect

from .helpers import DISC, GROUND, SKY, click, cluster_at, move_to, place, set_state, state


def pixel(page: Page, y: float, x: float) -> list[int]:
    """What the canvas shows at a place."""
    return page.evaluate(
        """([y, x]) => {
          const canvas = document.getElementById('viewer').shadowRoot.querySelector('.canvas');
          const at = [Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1];
          return [...canvas.getContext('2d').getImageData(...at).data];
        }""",
        [y, x],
    )


def test_hovering_finds_the_object_below(page: Page) -> None:
    move_to(page, *DISC)
    expected = cluster_at(page, *DISC)
    assert state(page, "hovered") == expected
    hover = state(page, "hover")
    assert hover["sample"] == 0
    assert abs(hover["y"] - DISC[0]) < 0.01
    assert abs(hover["x"] - DISC[1]) < 0.01
    expect(page.locator(".list li.hovered")).to_have_count(0)  # it is background, which is folded
    page.locator("summary", has_text="Background").click()
    move_to(page, *DISC)
    expect(page.locator(f".list li.hovered[data-cluster='{expected}']")).to_have_count(1)
    page.mouse.move(2, 2)
    assert state(page, "hovered") is None


def test_a_click_selects_and_shift_adds(page: Page) -> None:
    set_state(page, n=14)
    first, second = cluster_at(page, *DISC), cluster_at(page, *GROUND)
    assert first != second
    click(page, *DISC)
    assert state(page, "selected") == [first]
    page.keyboard.down("Shift")
    click(page, *GROUND)
    page.keyboard.up("Shift")
    assert state(page, "selected") == [first, second]
    click(page, *DISC)
    assert state(page, "selected") == [first]
    click(page, *DISC)
    assert state(page, "selected") == []


def test_the_rest_loses_its_colour_while_something_is_selected(page: Page) -> None:
    set_state(page, opacity=0, style="fills", tags=False)
    before = pixel(page, *SKY)
    click(page, *DISC)
    page.mouse.move(2, 2)
    set_state(page)
    after = pixel(page, *SKY)

    def spread(rgba: list[int]) -> int:
        return max(rgba[:3]) - min(rgba[:3])

    assert spread(before) > 20
    assert spread(after) < spread(before) / 2


def test_an_object_is_painted_in_its_colour_unless_it_is_hidden(page: Page) -> None:
    set_state(page, opacity=1, style="fills", tags=False, background=False, n=6, time=0)
    assert page.locator(".list li[data-cluster='1']").count() == 1  # the only object
    found = page.evaluate(
        """() => {
          const { base } = viewer.scene;
          const frame = viewer.scene.frame(0);
          const cut = Bavos.cutOf(base, 6, []);
          const at = frame.leaf.findIndex((leaf, p) => cut.leafCluster[leaf] === 1 && p > 320 * 3
            && [1, 2, 320, 640].every((by) => cut.leafCluster[frame.leaf[p + by]] === 1));
          return [(Math.floor(at / 320) + 1.5) / 180, ((at % 320) + 1.5) / 320];
        }"""
    )
    shown = pixel(page, *found)
    colour = page.evaluate("[...viewer.scene.base.colours.slice(3, 6)]")
    assert max(abs(a - b) for a, b in zip(shown, colour, strict=False)) <= 3
    set_state(page, hidden=[1])
    assert pixel(page, *found) != shown


def test_in_attention_views_a_click_with_shift_pins_too(page: Page) -> None:
    set_state(page, view="attention")
    click(page, *DISC)
    page.keyboard.down("Shift")
    click(page, DISC[0], DISC[1] + 0.2)
    page.keyboard.up("Shift")
    assert len(state(page, "pins")) == 2
    assert state(page, "selected") == []


def test_in_attention_views_a_click_pins(page: Page) -> None:
    set_state(page, view="attention")
    click(page, *DISC)
    assert len(state(page, "pins")) == 1
    assert state(page, "selected") == []
    expect(page.get_by_role("button", name="Pin 1, at 0.00 s")).to_be_visible()
    page.get_by_role("button", name="Pin 1, at 0.00 s").click()
    assert state(page, "pins") == []
    set_state(page, view="objects")
    page.keyboard.down("Alt")
    click(page, *DISC)
    page.keyboard.up("Alt")
    assert len(state(page, "pins")) == 1


def test_the_divider_follows_the_pointer(page: Page) -> None:
    page.get_by_role("button", name="Divide the picture").click()
    assert state(page, "divider") == 0.5
    page.mouse.move(*place(page, 0.5, 0.5))
    page.mouse.down()
    page.mouse.move(*place(page, 0.5, 0.25), steps=3)
    page.mouse.up()
    assert abs(state(page, "divider") - 0.25) < 0.01
    assert state(page, "selected") == []
    page.get_by_role("slider", name="Divider").press("ArrowRight")
    assert abs(state(page, "divider") - 0.27) < 0.01
    set_state(page, opacity=1, background=True, style="fills", tags=False, divider=0.5)
    left = pixel(page, 0.5, 0.3)
    set_state(page, view="original", divider=None)
    assert pixel(page, 0.5, 0.3) == left


def test_the_point_is_moved_by_keys(page: Page) -> None:
    page.locator(".view").focus()
    page.keyboard.press("Shift+ArrowLeft")
    hover = state(page, "hover")
    assert (hover["y"], hover["x"]) == (0.5, 0.5 - 1 / 16)
    page.keyboard.press("Enter")
    assert state(page, "selected") == [cluster_at(page, 0.5, 0.5 - 1 / 16)]
    page.keyboard.press("p")
    assert len(state(page, "pins")) == 1
