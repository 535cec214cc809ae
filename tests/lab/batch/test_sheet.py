"""The contact sheet, the journal and the meter."""

import re
from pathlib import Path

import pytest

from bavos_lab.batch.journal import Journal
from bavos_lab.batch.meter import Meter, lines
from bavos_lab.batch.rows import Status
from bavos_lab.batch.sheet import PAGE, write_sheet
from bavos_lab.batch.target import Disk

from .helpers import batch, row, write_frames


def links(page: Path) -> list[str]:
    return re.findall(r'(?:href|src)="([^"]+)"', page.read_text(encoding="utf-8"))


def test_the_contact_sheet_shows_every_clip(tmp_path: Path) -> None:
    write_frames(tmp_path / "clips" / "a & <b>", 3)
    (tmp_path / "clips" / "bad.mp4").write_text("<no film>")
    batch(tmp_path / "clips", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert page.count("<tr") == 3  # with the heading
    assert "a &amp; &lt;b&gt;" in page and "<b>" not in page
    assert "3 frames" in page and "The descriptors are hand-crafted" in page
    assert "'bad.mp4'" in page.replace("&#x27;", "'")
    assert "1 of 2 clips are done, 1 failed." in page
    found = links(tmp_path / "out" / "index.html")
    assert len(found) == 3  # the overlay, the folder and the picture
    for link in found:
        assert (tmp_path / "out" / link.replace("%20", " ")).exists(), link


def test_large_sets_get_pages_that_link_to_each_other(tmp_path: Path) -> None:
    meter, count = Meter(2 * PAGE + 1), 2 * PAGE + 1
    rows = [
        row(source=f"/clips/{n}.mp4", key=f"{n:024}", folder=f"clips/{n}-{n:024}", length=1.0,
            frames=25, objects=n)
        for n in range(count)
    ]  # fmt: skip
    for each in rows:
        meter.add(each)
    write_sheet(Disk(tmp_path), rows, meter)
    pages = [tmp_path / name for name in ("index.html", "sheet/2.html", "sheet/3.html")]
    assert [len(re.findall("<tr><td>", page.read_text())) for page in pages] == [PAGE, PAGE, 1]
    assert {"sheet/2.html", "sheet/3.html"} <= set(links(pages[0]))
    assert {"../index.html", "../sheet/3.html"} <= set(links(pages[1]))
    assert "../clips/1000-" in pages[2].read_text()


def test_the_journal_gives_the_last_row_of_a_number_in_order() -> None:
    journal = Journal(3)
    for number, source in ((2, "c"), (0, "first"), (0, "a"), (5, "grown")):
        journal.add(number, row(source=source))
    assert [each.source for each in journal] == ["a", "c", "grown"]
    journal.add(1, row(source="b"))
    assert [each.source for each in journal] == ["a", "b", "c", "grown"]


def test_the_meter_says_pace_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    meter = Meter(12_000, clock=lambda: now[0])
    show = lines(meter)
    assert str(meter) == "0 of 12,000 clips, 0 failed"
    for n in range(30):
        now[0] += 2
        meter.add(row(status=Status.BAD if n % 10 == 9 else Status.DONE, frames=50))
        show()
    meter.add(row(made=False))  # of an earlier run: no part of the pace
    said = "31 of 12,000 clips, 3 failed; 0.5 clips/s, 25 frames/s, 6:38:58 left"
    assert str(meter) == said
    assert capsys.readouterr().err == (
        "30 of 12,000 clips, 3 failed; 0.5 clips/s, 25 frames/s, 6:39:00 left\n"
    )
