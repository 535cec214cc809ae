"""The list of objects, edits, undo; the timeline."""

from playwright.sync_api import Page, expect

from .helpers import set_state, state, wait_for_frames


def actions(page: Page) -> list[str]:
    return [edit["action"] for edit in state(page, "edits")]


def test_an_object_is_renamed_and_undone(page: Page) -> None:
    name = page.get_by_label("Name of Object 2")
    name.fill("  A   ball ")
    name.press("Enter")
    expect(page.get_by_label("Name of A ball")).to_have_value("A ball")
    page.get_by_role("button", name="Undo name “A ball”").click()
    expect(page.get_by_label("Name of Object 2")).to_have_value("Object 2")
    page.get_by_role("button", name="Redo name “A ball”").click()
    expect(page.get_by_label("Name of A ball")).to_be_visible()


def test_merges_are_undone_one_by_one(page: Page) -> None:
    set_state(page, selected=[1, 0, 3])
    page.get_by_role("button", name="Merge into Object 2").click()
    assert actions(page) == ["merge", "merge"]
    assert state(page, "selected") == [1]
    page.locator(".view").focus()
    page.keyboard.press("z")
    assert actions(page) == ["merge"]
    page.keyboard.press("Control+z")
    assert actions(page) == []
    page.keyboard.press("Shift+Z")
    page.keyboard.press("Control+Shift+Z")
    assert actions(page) == ["merge", "merge"]


def test_what_is_made_background_is_no_longer_selected(page: Page) -> None:
    page.locator(".view").focus()
    set_state(page, selected=[3])
    page.keyboard.press("x")  # now an object
    assert state(page, "selected") == [3]
    page.keyboard.press("x")
    assert state(page, "selected") == []
    assert actions(page) == ["role", "role"]


def test_changes_that_rest_at_another_cut_are_said(page: Page) -> None:
    edit = {"action": "split", "cluster": 0, "value": None, "at": 2}
    set_state(page, n=2, edits=[edit])
    expect(page.locator(".live")).not_to_contain_text("changes")
    set_state(page, n=3)
    said = "1 of your changes applies only at 2 clusters."
    expect(page.locator(".live")).to_have_text(said)


def test_keys_change_what_is_selected(page: Page) -> None:
    page.locator(".view").focus()
    set_state(page, selected=[3])
    page.keyboard.press("x")
    assert state(page, "edits") == [{"action": "role", "cluster": 3, "value": "object", "at": None}]
    expect(page.get_by_role("heading", name="2 objects")).to_be_visible()
    page.keyboard.press("h")
    assert state(page, "hidden") == [3]
    page.keyboard.press("h")
    assert state(page, "hidden") == []
    page.keyboard.press("Escape")
    assert state(page, "selected") == []
    page.keyboard.press("m")
    expect(page.locator(".live")).to_have_text(
        "Select two or more objects to merge: Shift and click."
    )


def test_a_split_selects_its_parts_and_holds_at_its_cut_only(page: Page) -> None:
    set_state(page, n=2, selected=[0])
    page.locator(".view").focus()
    page.keyboard.press("s")
    assert state(page, "edits") == [{"action": "split", "cluster": 0, "value": None, "at": 2}]
    assert state(page, "selected") == [0, 2]
    expect(page.get_by_role("list", name="Objects").locator("li")).to_have_count(2)
    set_state(page, hidden=[2])
    set_state(page, n=3)
    assert state(page, "hidden") == []  # at three clusters, number 2 is another one
    assert state(page, "selected") == [0]


def test_the_list_is_walked_by_arrows(page: Page) -> None:
    page.locator("summary", has_text="Background").click()
    page.get_by_role("button", name="Select Object 2").focus()
    page.keyboard.press("ArrowDown")
    focus = page.evaluate("document.getElementById('viewer').shadowRoot.activeElement.ariaLabel")
    assert focus.startswith("Select Background")
    stops = page.locator(".list li button[tabindex='0']")
    expect(stops.first).to_have_attribute("aria-label", focus)
    page.keyboard.press("Enter")
    assert len(state(page, "selected")) == 1
    page.keyboard.press("x")  # the row moves to the objects; the focus goes with it
    assert actions(page) == ["role"]
    assert focus != page.evaluate(
        "document.getElementById('viewer').shadowRoot.activeElement.ariaLabel"
    )
    assert (
        page.evaluate("document.getElementById('viewer').shadowRoot.activeElement.ariaPressed")
        == "true"
    )


def test_hovering_a_row_hovers_the_object(page: Page) -> None:
    page.locator(".list li").first.hover()
    assert state(page, "hovered") == 1


def test_the_list_has_cut_outs(page: Page) -> None:
    page.wait_for_function(
        """() => {
          const root = document.getElementById('viewer').shadowRoot;
          const canvas = root.querySelector('.thumb canvas');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          return data.some((value) => value > 0);
        }"""
    )


def test_exports_are_asked_of_the_host(page: Page) -> None:
    page.get_by_role("button", name="Export all").click()
    set_state(page, selected=[1])
    page.get_by_role("button", name="Export 1 selected").click()
    asked = page.evaluate("host.asked")
    assert asked == [["export", {"selected": []}], ["export", {"selected": [1]}]]


def test_the_host_is_told_of_changes(page: Page) -> None:
    set_state(page, n=4)
    set_state(page, n=5)
    page.wait_for_function("host.changes.at(-1)?.n === 5")
    assert not page.evaluate("host.changes.some(({ n }) => n === 4)")  # told when it has settled


def test_time_is_driven_by_keys_and_pointer(page: Page) -> None:
    wait_for_frames(page)
    page.locator(".view").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert abs(state(page, "time") - 0.2) < 1e-9
    slider = page.get_by_role("slider", name="Time")
    expect(slider).to_have_attribute("aria-valuetext", "0:00.20, frame 3 of 11")
    slider.press("End")
    assert abs(state(page, "time") - 1.0) < 1e-9
    box = slider.bounding_box()
    assert box
    page.mouse.click(box["x"] + 116 + (box["width"] - 124) * 0.5, box["y"] + 18)
    assert abs(state(page, "time") - 0.5) < 1e-9


def test_playing_goes_on_at_the_pace_of_the_clip_and_starts_again(page: Page) -> None:
    wait_for_frames(page)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("viewer.state.time > 0.3")
    page.wait_for_function("viewer.state.time > 0.9")
    page.wait_for_function("viewer.state.time < 0.5")
    page.get_by_role("button", name="Pause").click()
    assert state(page, "playing") is False


def test_keys_are_listed(page: Page) -> None:
    page.locator(".view").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_have_count(0)


def test_keys_do_nothing_in_a_name(page: Page) -> None:
    page.get_by_label("Name of Object 2").press("x")
    page.get_by_label("Name of Object 2").press("1")
    assert state(page, "edits") == []
    assert state(page, "view") == "objects"
