"""Datasets that are missing, incomplete or damaged."""

import json
from pathlib import Path

import pytest

from bavos_core import InputError
from bavos_lab.evaluation import DATASETS, Selection
from bavos_lab.evaluation.ytvis import decode_rle

from .helpers import (
    moving,
    runs_of,
    write_davis,
    write_ytvis,
)


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_dataset_says_where_it_was_expected_and_where_it_is(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        DATASETS[name].sequences(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(error.value)
    assert DATASETS[name].origin in str(error.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("davis-2016", "ImageSets/480p/val.txt"),
        ("davis-2017", "ImageSets/2017/val.txt"),
        ("segtrack-v2", "GroundTruth"),
        ("fbms-59", "Testset"),
        ("ytvis-2019", "train.json"),
        ("folder", "masks"),
    ],
)
def test_an_empty_folder_says_which_path_was_expected(
    name: str, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        DATASETS[name].sequences(tmp_path)
    assert str(tmp_path / expected) in str(error.value)
    assert DATASETS[name].origin in str(error.value)


def test_movi_without_videos_is_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No sequence of MOVi-E is left"):
        DATASETS["movi-e"].sequences(tmp_path)


@pytest.mark.parametrize("part", ["JPEGImages/480p/a", "Annotations/480p/a"])
def test_a_sequence_without_its_folder_says_which(tmp_path: Path, part: str) -> None:
    write_davis(tmp_path)
    (tmp_path / part).rename(tmp_path / "away")
    with pytest.raises(InputError) as error:
        DATASETS["davis-2016"].sequences(tmp_path)
    assert str(tmp_path / part) in str(error.value)


def test_masks_that_belong_to_no_frame_are_noticed(tmp_path: Path) -> None:
    write_davis(tmp_path)
    for path in (tmp_path / "Annotations" / "480p" / "a").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(InputError, match="No frame of the sequence 'a' has a mask of its name"):
        DATASETS["davis-2016"].sequences(tmp_path)


def test_a_sequence_that_does_not_exist_is_named(tmp_path: Path) -> None:
    write_ytvis(tmp_path, moving(1), runs_of)
    with pytest.raises(InputError, match="There is no sequence 'x'"):
        DATASETS["ytvis-2021"].sequences(tmp_path, Selection(sequences=("x",)))


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n half"])
def test_a_damaged_mask_is_named(tmp_path: Path, content: bytes) -> None:
    write_davis(tmp_path)
    path = tmp_path / "Annotations" / "480p" / "a" / "00002.png"
    path.write_bytes(content)
    (sequence,) = DATASETS["davis-2016"].sequences(tmp_path)
    with pytest.raises(InputError) as error:
        sequence.truth()
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"videos": [{"id": 1}], "annotations": []}'])
def test_a_damaged_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(InputError, match=r"train\.json is damaged"):
        DATASETS["ytvis-2019"].sequences(tmp_path)


def test_masks_for_another_number_of_frames_are_noticed(tmp_path: Path) -> None:
    write_ytvis(tmp_path, moving(2), runs_of)
    document = json.loads((tmp_path / "train.json").read_text())
    document["annotations"][0]["segmentations"].pop()
    (tmp_path / "train.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="v0 has masks for another number of frames"):
        DATASETS["ytvis-2021"].sequences(tmp_path)


def test_a_run_length_code_that_does_not_fill_its_mask_is_noticed() -> None:
    with pytest.raises(InputError, match="does not fill its mask"):
        decode_rle({"size": [2, 2], "counts": [1, 2]})
