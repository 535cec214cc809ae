"""A written video as Chromium plays it: the right frame at any time, in the right colours."""

import base64
from pathlib import Path

import numpy as np
import pytest
from core.test_cases import number_of
from core.variants import RED, numbered
from playwright.sync_api import Browser

from bavos_core import export
from bavos_io.clip import Timeline

SHOW = """async ([source, seconds]) => {
  const video = document.createElement("video");
  const ready = (event) => new Promise((done, fail) => {
    video.addEventListener(event, done, {once: true});
    video.addEventListener("error", fail, {once: true});
  });
  video.muted = true;
  let wait = ready("loadeddata");
  video.src = source;
  await wait;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  const shown = [];
  const row = (share) => [...context.getImageData(
    0, Math.floor(share * canvas.height), canvas.width, 1).data];
  for (const second of seconds) {  // in different frames, so that another one is presented
    wait = new Promise((done) => video.requestVideoFrameCallback(done));
    video.currentTime = second;
    await wait;
    context.drawImage(video, 0, 0);
    shown.push([row(1 / 16), row(3 / 4)]);
  }
  return [video.duration, canvas.height, canvas.width, shown];
}"""


@pytest.mark.parametrize("height", [96, 720])
def test_chromium_shows_the_frame_and_the_colours_that_were_written(
    height: int, browser: Browser, tmp_path: Path
) -> None:
    rng = np.random.default_rng(height)
    gaps = rng.choice([1 / 60, 1 / 24, 0.1, 1.5], 30)
    ends = np.cumsum(gaps)
    clip = Timeline(np.array([0, *ends[:-1]]), float(ends[-1]))
    frames = numbered(30, size=(height, 128))
    export.write_frames(tmp_path / "v.mp4", clip.timed(frames), size=(height, 128))
    chosen = rng.permutation(np.arange(1, 30))[:10]  # the first one is shown already
    seconds = clip.times[chosen] + rng.uniform(0, 1, 10) * gaps[chosen]
    source = base64.b64encode((tmp_path / "v.mp4").read_bytes()).decode()
    page = browser.new_page()
    answer = page.evaluate(SHOW, [f"data:video/mp4;base64,{source}", seconds.tolist()])
    page.close()
    duration, rows, columns, pixels = answer
    assert duration == pytest.approx(clip.end, abs=0.01)
    assert (rows, columns) == (height, 128)
    for second, shown in zip(seconds, pixels, strict=True):
        bars, row = np.array(shown, np.uint8).reshape(2, 1, 128, 4)[..., :3]
        number = number_of(bars)
        half = min(gaps) / 2
        assert clip.times[number] - half <= second <= ends[number] + half
        square = row[0, 8 + number : 20 + number].astype(int)
        assert np.abs(square.mean(0) - RED).max() <= 8
