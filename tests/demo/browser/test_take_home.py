"""Files and code, and the HTML file."""

import json
import zipfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import BrowserContext, expect

from .helpers import Open, choose, download, expect_no_message, expect_result, open_panel


def test_files_are_described_and_follow_the_viewer(opened: Open, result: str, server: str) -> None:
    page = opened(f"/?result={result}")
    expect_result(page)
    open_panel(page, "#take-home")
    code = page.locator("#code")
    page.evaluate("""() => {
      const list = document.querySelector('.bavos-place').shadowRoot;
      list.querySelector('[aria-label=Hierarchy] input[type=range]').focus();
    }""")
    page.keyboard.press("ArrowRight")
    clusters = page.evaluate("window.bavos.state().n")
    expect(code).to_contain_text(f"segment(n_clusters={clusters})")
    expect(code).to_contain_text(f'Client("{server.rstrip("/")}')
    python = code.locator(".cm-content").inner_text().split("# Python")[1].split("# This")[0]
    compile(python, "code", "exec")
    choose(page, "#cut-out", "Video with alpha (VP9, webm)")
    page.click("#prepare")
    with zipfile.ZipFile(BytesIO(download(page, "bavos.zip"))) as archive:
        names = archive.namelist()
        pictures = [name for name in names if name.endswith(".png")]
        assert len(pictures) == 4
        assert Image.open(archive.open(pictures[0])).size == (128, 96)
        assert len(json.loads(archive.read("masks.json"))["categories"]) == clusters
        assert "objects.webm" in names
    expect(page.locator("#files-about")).to_contain_text(
        "the clip with its objects coloured, 128×96"
    )
    expect_no_message(page)


def test_the_html_file_works_without_the_server(
    opened: Open, result: str, context: BrowserContext, tmp_path: Path
) -> None:
    page = opened(f"/?result={result}")
    expect_result(page)
    open_panel(page, "#take-home")
    with page.expect_download() as started:
        page.click("#html")
    assert started.value.suggested_filename == "small.html"
    file = tmp_path / "clip.html"
    started.value.save_as(file)
    offline = context.new_page()
    requests: list[str] = []
    offline.on("request", lambda request: requests.append(request.url))
    offline.goto(file.as_uri())
    expect(offline.locator("#viewer canvas").first).to_be_visible()
    expect(offline.locator("#viewer [aria-label=Objects]").first).to_be_visible()
    assert not [url for url in requests if url.startswith("http")]
    offline.close()
