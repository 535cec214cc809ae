"""The code in README.md and docs/ runs as written, in a folder with a short clip.mp4."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from bavos_core import cli, open_clip

ROOT = Path(__file__).resolve().parents[2]
README, API, OTHERS = "README.md", "docs/api.md", "docs/other_systems.md"
DOCUMENTS = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
)
FRAMES = 6  # of clip.mp4: as many are analysed


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def python(document: str, containing: str) -> str:
    (code,) = (code for code in blocks(document, "python") if containing in code)
    return code


def commands(document: str) -> list[list[str]]:
    """All lines that start with `bavos` or `python -m bavos_core`, without that start."""
    text = (ROOT / document).read_text(encoding="utf-8")
    lines = re.findall(r"^ *(?:bavos|python -m bavos_core) (\w.*)$", text, flags=re.M)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.fixture(scope="module")
def short_clip(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("readme") / "clip.mp4"
    frames = list(open_clip(example).read(range(FRAMES)))
    writer = imageio_ffmpeg.write_frames(str(path), frames[0].shape[1::-1], fps=12)
    writer.send(None)
    for frame in frames:
        writer.send(frame)
    writer.close()
    return path


@pytest.fixture(autouse=True)
def folder(short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "clip.mp4").symlink_to(short_clip)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code: str, document: str) -> dict[str, Any]:
    """Run the code and return the names that it defines."""
    names: dict[str, Any] = {}
    exec(compile(code, document, "exec"), names)
    return names


def test_all_python_is_run_below() -> None:
    counts = {name: len(blocks(name, "python")) for name in DOCUMENTS}
    assert {name: count for name, count in counts.items() if count} == {
        README: 1,
        API: 5,
        OTHERS: 7,
    }


def test_the_python_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(python(README, "analyse"), README)
    assert names["heat"].shape == names["segmentation"].labels.shape
    assert names["heat"].sum() == pytest.approx(1, abs=1e-3)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_the_python_of_the_api(folder: Path) -> None:
    names = run(python(API, "import write_all"), API)
    frames, height, width = names["cut"].labels.shape
    assert names["rows"].shape == (2, frames, height, width)
    assert names["levels"].shape[1:] == (frames, height, width)
    assert names["named"].name(2) == "dog"
    assert len(list((folder / "results" / "masks").iterdir())) == FRAMES
    assert (names["again"].levels == names["levels"]).all()


@pytest.mark.parametrize("python_of_it", blocks(OTHERS, "python"))
def test_what_is_added_to_other_systems_is_python(python_of_it: str) -> None:
    ast.parse(python_of_it)


@pytest.mark.parametrize(
    ("saved", "frames"),
    [("DAVIS_Twostage", [0, 1, 2]), ("DAVIS_Attn", [0, 1, 2, 2])],  # one without its last frame
)
def test_saved_masks_of_other_systems_become_pictures(
    saved: str, frames: list[int], folder: Path
) -> None:
    (folder / saved).mkdir()
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (3, 6, 8)))
    masks = torch.nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    torch.save({t: [mask[None, :, None]] for t, mask in enumerate(masks)}, f"{saved}/dog.pth")
    run(python(OTHERS, f'Path("{saved}")'), OTHERS)
    found = [np.asarray(Image.open(path)) for path in sorted(Path("masks/dog").iterdir())]
    assert [f.tolist() for f in found] == [(labels[t] + 1).tolist() for t in frames]


def test_the_files_of_arrays_of_the_api(folder: Path) -> None:
    names = run(python(API, "write_attention"), API)
    with np.load(folder / "attention.npz") as file:
        assert (file["attention"] == names["rows"]).all()
    assert (folder / "features.npz").stat().st_size > 0


def test_the_cut_outs_of_the_api(folder: Path) -> None:
    names = run(python(API, "CutOuts"), API)
    assert (folder / "objects.webm").stat().st_size > 0
    for cluster in names["cut"].present[:2]:
        assert len(list((folder / f"object-{cluster + 1}").iterdir())) == FRAMES


def test_the_adapting_of_the_api() -> None:
    assert run(python(API, "adapt"), API)["adapted"].source == "correlator"


def test_the_client_of_the_api(server: str) -> None:
    code = python(API, "gradio_client").replace("http://127.0.0.1:7860", server)
    names = run(code, API)
    assert len(names["numbers"]["background"]) == 6
    assert np.asarray(names["attention"]["row"]).sum() == pytest.approx(1, abs=1e-3)
    for path in (names["overlay"], names["picture"], names["heat"], names["video"]):
        assert Path(path).stat().st_size > 0
    assert Path(names["files"][0]).name == "bavos.zip"


@pytest.mark.parametrize("command", commands(README), ids=lambda command: command[0])
def test_a_command_of_the_readme(command: list[str], folder: Path) -> None:
    before = set(folder.iterdir())
    assert cli.main(command) == 0
    (made,) = set(folder.iterdir()) - before
    assert made.name == command[command.index("--out") + 1]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_a_document_has_valid_options(document: str) -> None:
    for command in commands(document):
        cli.build_parser(command[0]).parse_args(command)  # exits for bad ones


def test_the_documents_have_commands() -> None:
    assert {command[0] for name in DOCUMENTS for command in commands(name)} == {
        "segment", "attend", "batch", "train", "evaluate", "benchmark",
    }  # fmt: skip
