"""What the tests of the mounted viewer do over and over."""

from playwright.sync_api import Page

from .scenes import GRID, PREVIEW, leaf_map

DISC = (30 / PREVIEW[0], 20 / PREVIEW[1])  # y and x of the middle of the first disc in frame 0
GROUND, SKY = (0.98, 0.02), (0.08, 0.9)


def state(page: Page, field: str = "") -> object:
    """The state, or a field of it, after everything was painted."""
    page.evaluate("viewer.store.flush()")
    return page.evaluate(f"viewer.state{'.' + field if field else ''}")


def set_state(page: Page, **fields: object) -> None:
    page.evaluate("fields => { viewer.store.set(fields); viewer.store.flush(); }", fields)


def wait_for_frames(page: Page) -> None:
    """Until every frame has come."""
    page.locator(".arrived", has_text="11 frames, 6 analysed").wait_for()


def place(page: Page, y: float, x: float) -> tuple[float, float]:
    """Where in the window a place (0 … 1) of the picture is."""
    box = page.locator(".view").first.bounding_box()
    assert box
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def move_to(page: Page, y: float, x: float) -> None:
    page.mouse.move(*place(page, y, x))


def click(page: Page, y: float, x: float, **options: object) -> None:
    page.mouse.click(*place(page, y, x), **options)


def cluster_at(page: Page, y: float, x: float, frame: int = 0) -> int:
    """The cluster there by the leaf map and the cut of the state."""
    leaf = int(leaf_map(frame)[int(y * PREVIEW[0]), int(x * PREVIEW[1])])
    cuts = page.evaluate(
        "Array.from(Bavos.cutOf(viewer.scene.base, viewer.state.n, viewer.state.edits).leafCluster)"
    )
    return int(cuts[leaf])


def patch(y: int, x: int) -> tuple[float, float]:
    """The middle of a patch."""
    return (y + 0.5) / GRID[0], (x + 0.5) / GRID[1]
