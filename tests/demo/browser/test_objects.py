"""The list of objects and its edits."""

import json
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from bavos_core import Edit
from demo import strings
from demo.service import Service

from .helpers import (
    LONG,
    changes,
    download,
    expect_another,
    expect_no_notice,
    in_both_widths,
    open_tab,
    set_number,
    source_of,
)


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
    assert masks["categories"][4]["name"] == "Red box"
    assert masks["categories"][6]["supercategory"] == "object"
    assert 8 not in {annotation["category_id"] for annotation in masks["annotations"]}
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
