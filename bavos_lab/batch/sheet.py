"""The contact sheet: HTML that shows one row per clip, in pages, written row by row."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from .meter import Meter
from .rows import Row, Status
from .strip import HEIGHT, STRIPS, strip_name
from .target import Target

PAGE = 500  # clips on a page
FIRST = "index.html"

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .4rem .6rem }}
tr {{ border-bottom: 1px solid #8886 }}
td {{ overflow-wrap: anywhere }}
td:first-child {{ min-width: 10rem }}
td:last-child {{ font-size: 13px }}
img {{ height: {height}px; display: block }}
.number {{ text-align: right; white-space: nowrap }}
.failed {{ border-left: 4px solid #c33 }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{counts}</p>
{links}
<table>
<thead><tr><th scope="col">Clip</th><th scope="col">First, middle and last analysed frame</th>
<th scope="col" class="number">Length</th><th scope="col" class="number">Objects</th>
<th scope="col">Notes</th></tr></thead>
<tbody>
"""
_DONE = """<tr><td><a href="{up}{folder}/overlay.mp4">{name}</a><br>
<a href="{up}{folder}/">files</a></td>
<td><img src="{up}{strip}" alt="Frames of {name} with its objects" loading="lazy"></td>
<td class="number">{length:.1f} s<br>{frames:,} frames</td><td class="number">{objects}</td>
<td>{notes}</td></tr>
"""
_NOT_DONE = """<tr class="failed"><td>{name}</td><td>{status}</td><td></td><td></td>
<td>{error}</td></tr>
"""
_TAIL = """</tbody>
</table>
{links}
</body>
</html>
"""


def write_sheet(target: Target, rows: Iterable[Row], meter: Meter) -> None:
    """Write the contact sheet of all rows that the meter has counted."""
    left, pages, counts = iter(rows), max(1, -(-meter.finished // PAGE)), _counts(meter)
    with tempfile.TemporaryDirectory(prefix="bavos-") as folder:
        path = Path(folder) / FIRST
        for page in range(pages):
            with path.open("w", encoding="utf-8") as file:
                file.writelines(_page(islice(left, PAGE), page, pages, counts))
            target.put_file(path, page_name(page))


def _counts(meter: Meter) -> str:
    done = meter.counts[Status.DONE]
    said = f"{done:,} of {meter.total:,} clips are done, {meter.failed:,} failed."
    return said if meter.finished >= meter.total else f"{said} The run was stopped."


def page_name(page: int) -> str:
    """Return the place of a page, numbered from 0, below OUT."""
    return f"{STRIPS}/{page + 1}.html" if page else FIRST


def _page(rows: Iterable[Row], page: int, pages: int, counts: str) -> Iterator[str]:
    up = "../" if page else ""
    of = f", page {page + 1} of {pages}" if pages > 1 else ""
    links = _links(page, pages, up)
    title = f"Clips segmented by Bavos{of}"
    yield _HEAD.format(title=title, counts=html.escape(counts), links=links, height=HEIGHT)
    yield from (_line(row, up) for row in rows)
    yield _TAIL.format(links=links)


def _line(row: Row, up: str) -> str:
    name = html.escape(row.source.rstrip("/").rpartition("/")[2] or row.source)
    if row.status is not Status.DONE:
        error = html.escape(row.error or "")
        return _NOT_DONE.format(name=name, status=row.status, error=error)
    return _DONE.format(
        up=up,
        name=name,
        folder=quote(str(row.folder)),
        strip=strip_name(str(row.key)),
        length=row.length,
        frames=row.frames,
        objects=row.objects,
        notes=" ".join(map(html.escape, row.notes)),
    )


def _links(page: int, pages: int, up: str) -> str:
    """Return links to the pages around one, if there are others."""
    if pages == 1:
        return ""
    named = {"First": 0, "Previous": page - 1, "Next": page + 1, "Last": pages - 1}
    links = [
        f'<a href="{up}{page_name(number)}">{name}</a>'
        for name, number in named.items()
        if 0 <= number < pages and number != page
    ]
    return f'<nav aria-label="Pages">{" · ".join(links)}</nav>'
