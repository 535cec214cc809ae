"""What a folder, a list and a manifest name."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from bavos_core import InputError, Settings
from bavos_lab.batch.sources import Source

SETTINGS = Settings(backbone="descriptors", tau=0.8)


def source(path: Path) -> Source:
    return Source(path, SETTINGS)


def named(path: Path) -> list[str]:
    return [Path(clip.source).relative_to(path).as_posix() for clip in source(path)]


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_folder_holds_videos_zips_and_folders_of_frames_in_natural_order(tmp_path: Path) -> None:
    fill(
        tmp_path, "clip10.mp4", "clip2.MOV", "notes.txt", "old/a.zip", "old/thumbnail.jpg",
        "walk/1.png", "walk/2.png", "deep/er/b.webm", ".hidden/c.mp4", ".d.mp4",
    )  # fmt: skip
    assert named(tmp_path) == ["clip2.MOV", "clip10.mp4", "deep/er/b.webm", "old/a.zip", "walk"]


def test_a_folder_of_frames_is_one_clip(tmp_path: Path) -> None:
    assert named(fill(tmp_path, "1.png", "2.png")) == ["."]


def test_results_in_a_folder_are_no_clips(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", "result/bavos.json", "result/overlay.mp4", "result/masks/0.png")
    fill(tmp_path, "out/.batch/x", "out/clips/a-1/overlay.mp4")
    assert named(tmp_path) == ["a.mp4"]


def test_links_are_not_followed_around_in_a_circle(tmp_path: Path) -> None:
    (fill(tmp_path, "a.mp4") / "again").symlink_to(tmp_path)
    assert named(tmp_path) == ["a.mp4"]


def test_a_list_holds_paths_beside_it_and_urls(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(
        "\ufeff# clips\n\n one.mp4 \nhttps://host/a b.mp4?key=1\n/else/two.mp4\n", "utf-8"
    )
    assert [clip.source for clip in source(path)] == [
        str(tmp_path / "one.mp4"), "https://host/a b.mp4?key=1", "/else/two.mp4",
    ]  # fmt: skip
    assert {clip.settings for clip in source(path)} == {SETTINGS}


ROWS = [
    {"clip": "a.mp4", "tau": 0.5, "size": "64x96", "exact": "yes", "start": "1:30", "label": "x"},
    {"clip": "b.mp4", "tau": None, "frames": 7, "correlator": "key-similarity", "end": "2.5"},
    {"clip": "c.mp4", "weights": "dino.pth", "correlator": "mine.safetensors"},
]
WANTED = [
    ({"tau": 0.5, "size": [64, 96], "exact": True}, (90, None)),
    ({"tau": 0.8, "frames": 7, "correlator": "key-similarity"}, (0, 2.5)),
    ({"weights": "HERE/dino.pth", "correlator": "HERE/mine.safetensors"}, (0, None)),
]


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_manifest_gives_settings_a_row(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"clips.{kind}"
    names = list(dict.fromkeys(name for row in ROWS for name in row))
    if kind == "parquet":
        columns = {name: [row.get(name) for row in ROWS] for name in names}
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    else:
        lines = [names, *([str(row.get(name) or "") for name in names] for row in ROWS)]
        path.write_text("\n".join(("," if kind == "csv" else "\t").join(line) for line in lines))
    clips = list(source(path))
    assert [clip.problem for clip in clips] == ["", "", ""]
    assert [Path(clip.source).name for clip in clips] == ["a.mp4", "b.mp4", "c.mp4"]
    for clip, (settings, part) in zip(clips, WANTED, strict=True):
        given = json.loads(json.dumps(clip.settings.to_dict()).replace(str(tmp_path), "HERE"))
        assert settings.items() <= given.items()
        assert (clip.start, clip.end) == part
    columns = source(path).columns()
    assert columns and columns.ignored == ("label",)


def test_numbers_of_columns_with_gaps_are_whole_numbers_again(tmp_path: Path) -> None:
    path = tmp_path / "clips.parquet"
    table = pyarrow.table({"path": ["a", "b"], "frames": [24.0, float("nan")]})
    pyarrow.parquet.write_table(table, path)
    assert [clip.settings.frames for clip in source(path)] == [24, None]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a.mp4,abc,", "The column tau holds 'abc'; correct it."),
        ("a.mp4,-1,", "Tau is -1.0; it must be a number above 0."),
        ("a.mp4,,maybe", "The column exact holds 'maybe'; correct it."),
        (",1,", "The row has no path; fill it in."),
    ],
)
def test_what_is_wrong_with_a_row_is_said_of_it_alone(
    row: str, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "clips.csv"
    path.write_text(f"path,tau,exact\n{row}\nb.mp4,0.5,\n")
    wrong, right = source(path)
    assert (wrong.problem, right.problem, right.settings.tau) == (problem, "", 0.5)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none", None, "There is no file or folder"),
        ("empty.txt", b"# nothing\n", "names no clips"),
        ("film.mp4", b"\x00\xff\xfe", "is no list of clips in UTF-8"),
        ("a.csv", b"file,tau\na.mp4,1\n", "has no column path, but file, tau"),
        ("a.csv", b"\xff\xfe\x00", "is no CSV file"),
        ("a.parquet", b"PAR1 not", "is no Parquet file"),
    ],
)
def test_sources_that_cannot_be_read(
    name: str, content: bytes | None, sentence: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        source(tmp_path / name).count()
