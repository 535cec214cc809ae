"""Every layout of a dataset on disk."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco

from bavos_core import InputError
from bavos_lab.evaluation import DATASETS, Selection, VideoSequence
from bavos_lab.evaluation.sequences import read_labels, read_objects
from bavos_lab.evaluation.ytvis import decode_rle

from .helpers import (
    grid,
    moving,
    runs_of,
    write_colours,
    write_davis,
    write_grey,
    write_palette,
    write_picture,
    write_ytvis,
)


def check(sequence: VideoSequence, maps: list[np.ndarray], frames: list[int]) -> None:
    """The sequence's truth is that of these maps at these frames, and its frames can be read."""
    truth = sequence.truth()
    assert list(truth.frames) == frames
    objects = sorted({int(v) for t in frames for v in np.unique(maps[t]) if v})
    assert len(truth.objects) == len(objects)
    for annotation, t in zip(truth.annotations, frames, strict=True):
        for number, expected in zip(truth.objects, objects, strict=True):
            found = annotation.masks.get(number, np.zeros(annotation.size, bool))
            assert (found == (maps[t] == expected)).all()
    clip = sequence.clip()
    assert clip.frame_names == sequence.frame_names and len(list(clip.read())) == len(maps)


def test_davis_2016_scores_neither_end(tmp_path: Path) -> None:
    write_davis(tmp_path, ("b", "a"))
    first, second = DATASETS["davis-2016"].sequences(tmp_path)
    assert (first.name, second.name) == ("b", "a")  # the list's order
    check(first, moving(5), [1, 2, 3])


def test_davis_2016s_own_list_names_frames(tmp_path: Path) -> None:
    write_davis(tmp_path, ("a", "b", "c"))
    (tmp_path / "ImageSets" / "2016" / "val.txt").unlink()
    (tmp_path / "ImageSets" / "480p").mkdir()
    (tmp_path / "ImageSets" / "480p" / "val.txt").write_text(
        "".join(
            f"/JPEGImages/480p/{n}/{t:05d}.jpg /Annotations/480p/{n}/{t:05d}.png \n"
            for n in ("a", "c")
            for t in range(5)
        )
    )
    assert [s.name for s in DATASETS["davis-2016"].sequences(tmp_path)] == ["a", "c"]


def test_davis_2016_takes_all_objects_of_palette_masks_as_one(tmp_path: Path) -> None:
    write_davis(tmp_path)
    for t, labels in enumerate(moving(5, objects=2)):
        write_palette(tmp_path / "Annotations" / "480p" / "a" / f"{t:05d}.png", labels)
    (sequence,) = DATASETS["davis-2016"].sequences(tmp_path)
    check(sequence, [(m > 0).astype(np.uint8) for m in moving(5, objects=2)], [1, 2, 3])


def test_davis_2017_has_several_objects_and_scores_every_frame(tmp_path: Path) -> None:
    write_davis(tmp_path, year=2017, objects=2)
    (sequence,) = DATASETS["davis-2017"].sequences(tmp_path)
    check(sequence, moving(5, objects=2), [0, 1, 2, 3, 4])


def test_davis_2017_semi_reads_the_other_annotations(tmp_path: Path) -> None:
    write_davis(tmp_path, year=2017, objects=2)
    for t, labels in enumerate(moving(5)):
        write_palette(tmp_path / "Annotations" / "480p" / "a" / f"{t:05d}.png", labels)
    (sequence,) = DATASETS["davis-2017-semi"].sequences(tmp_path)
    check(sequence, moving(5), [0, 1, 2, 3, 4])


def test_davis_2017_scores_objects_of_the_first_frame_and_no_void(tmp_path: Path) -> None:
    write_davis(tmp_path, year=2017)
    late = moving(5, objects=2)[4].copy()
    late[20:] = 255
    write_palette(tmp_path / "Annotations_unsupervised" / "480p" / "a" / "00004.png", late)
    truth = DATASETS["davis-2017"].sequences(tmp_path)[0].truth()
    assert truth.objects == (1,)
    assert truth.annotations[4].void is not None and truth.annotations[4].void[20:].all()


@pytest.mark.parametrize("chosen", [Selection(split="all"), Selection(sequences=("b", "a"))])
def test_sequences_can_be_chosen_without_lists(tmp_path: Path, chosen: Selection) -> None:
    write_davis(tmp_path, ("b", "a"))
    (tmp_path / "ImageSets" / "2016" / "val.txt").unlink()
    found = [s.name for s in DATASETS["davis-2016"].sequences(tmp_path, chosen)]
    assert found == (list(chosen.sequences) or ["a", "b"])


def test_a_subset_is_a_range_of_positions(tmp_path: Path) -> None:
    write_davis(tmp_path, "abcde")
    found = DATASETS["davis-2016"].sequences(tmp_path, Selection(subset=(1, 3)))
    assert [s.name for s in found] == ["b", "c"]
    with pytest.raises(InputError, match="No sequence of DAVIS-2016 is left"):
        DATASETS["davis-2016"].sequences(tmp_path, Selection(subset=(7, 9)))


def test_segtrack_has_files_for_one_object_and_folders_for_several(tmp_path: Path) -> None:
    one, two = moving(3), moving(3, objects=2)
    for t in range(3):
        # Numbers start anywhere, and frames need not have the suffix of masks.
        write_picture(tmp_path / "JPEGImages" / "girl" / f"girl_{t + 7:05d}.bmp", one[t])
        write_grey(tmp_path / "GroundTruth" / "girl" / f"girl_{t + 7:05d}.png", one[t])
        write_picture(tmp_path / "JPEGImages" / "bmx" / f"bmx_{t:05d}.png", two[t])
        for n in (1, 2):
            write_grey(tmp_path / "GroundTruth" / "bmx" / str(n) / f"bmx_{t:05d}.png", two[t] == n)
    bmx, girl = DATASETS["segtrack-v2"].sequences(tmp_path)
    check(bmx, two, [0, 1, 2])
    check(girl, one, [0, 1, 2])
    assert girl.frame_names == ("girl_00007", "girl_00008", "girl_00009")


def test_fbms_annotates_a_few_frames_by_colours_or_labels(tmp_path: Path) -> None:
    maps = moving(9, objects=2)
    for t in range(9):
        write_picture(tmp_path / "Testset" / "cats01" / f"cats01_{t + 1:04d}.jpg", maps[t])
        write_picture(tmp_path / "Testset" / "cars1" / f"cars1_{t + 1:02d}.jpg", maps[t])
    truth = tmp_path / "Testset" / "cats01" / "GroundTruth"
    for t in (0, 8):
        write_colours(truth / f"cats01_{t + 1:04d}_gt.ppm", maps[t])
        write_colours(truth / f"cats01_{t + 1:04d}PROB_gt.ppm", maps[3])
        write_grey(truth / f"cats01_{t + 1:04d}_gt.pgm", maps[3])  # loses objects; not used
    labels = tmp_path / "Testset" / "cars1" / "GroundTruth"
    labels.mkdir()
    Image.fromarray(maps[4] * 60).save(labels / "cars1_05.pgm")
    cars, cats = DATASETS["fbms-59"].sequences(tmp_path)
    check(cats, maps, [0, 8])
    check(cars, maps, [4])


@pytest.mark.parametrize("encode", [runs_of, "compressed"], ids=["runs", "compressed"])
@pytest.mark.parametrize("compact", [False, True], ids=["2019", "2021"])
def test_youtube_vis(tmp_path: Path, encode, compact: bool) -> None:
    def compressed(mask: np.ndarray) -> dict:
        code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": code["size"], "counts": code["counts"].decode()}

    maps = moving(4, objects=2)
    maps[2] = np.where(maps[2] == 2, 0, maps[2])  # object 2 is away for a frame
    write_ytvis(tmp_path, maps, runs_of if encode is runs_of else compressed, compact=compact)
    (sequence,) = DATASETS["ytvis-2021"].sequences(tmp_path)
    check(sequence, maps, [0, 1, 2, 3])
    assert sequence.frame_names == ("00000", "00005", "00010", "00015")


def test_youtube_vis_2019_is_the_papers_300_videos_unless_asked_otherwise(tmp_path: Path) -> None:
    maps = [np.ones((2, 2), np.uint8)]
    write_ytvis(tmp_path, maps, runs_of)
    document = json.loads((tmp_path / "train.json").read_text())
    video = document["videos"][0]
    document["videos"] = [
        {**video, "id": i, "file_names": [f"video{i}/00000.jpg"]} for i in range(1, 951)
    ]
    (tmp_path / "train.json").write_text(json.dumps(document))
    found = DATASETS["ytvis-2019"].sequences(tmp_path)
    assert (len(found), found[0].name, found[-1].name) == (300, "video601", "video900")
    (one,) = DATASETS["ytvis-2019"].sequences(tmp_path, Selection(sequences=("video7",)))
    assert one.name == "video7"
    with pytest.raises(InputError, match="No frame of 'video7' has ground truth"):
        one.truth()


def test_objects_of_youtube_vis_may_overlap(tmp_path: Path) -> None:
    write_ytvis(tmp_path, moving(1, objects=2), lambda _: runs_of(np.ones((24, 32), bool)))
    truth = DATASETS["ytvis-2021"].sequences(tmp_path)[0].truth()
    assert [int(m.sum()) for m in truth.annotations[0].masks.values()] == [24 * 32] * 2


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans()))
def test_run_lengths_are_read_as_pycocotools_writes_them(mask: np.ndarray) -> None:
    code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": code["size"], "counts": code["counts"].decode()}
    assert (decode_rle(text) == mask).all()
    assert (decode_rle(runs_of(mask)) == mask).all()


def test_long_runs_are_read_as_pycocotools_writes_them() -> None:
    mask = np.zeros((700, 900), np.uint8, order="F")
    mask[100:400, 300:310] = 1
    mask[:, 700:] = 1
    code = coco.encode(mask)
    assert (decode_rle({"size": [700, 900], "counts": code["counts"].decode()}) == mask).all()


def test_movi_in_kubrics_names(tmp_path: Path) -> None:
    maps = moving(3, objects=2)
    for t in range(3):
        write_picture(tmp_path / "12" / f"rgba_{t:05d}.png", maps[t])
        write_palette(tmp_path / "12" / f"segmentation_{t:05d}.png", maps[t])
        write_grey(tmp_path / "12" / f"depth_{t:05d}.png", maps[t])
    (sequence,) = DATASETS["movi-e"].sequences(tmp_path)
    check(sequence, maps, [0, 1, 2])


def test_movi_with_a_mask_for_each_object(tmp_path: Path) -> None:
    maps = moving(3, objects=2)
    for t in range(3):
        folder = tmp_path / "validation" / "00000004"
        write_picture(folder / f"{t:08d}_image.png", maps[t])
        for n in range(4):  # 00 is background; the last object does not exist
            write_grey(folder / f"{t:08d}_mask_{n:02d}.png", maps[t] == n)
    (sequence,) = DATASETS["movi-e"].sequences(tmp_path, Selection(split="validation"))
    check(sequence, maps, [0, 1, 2])


def test_a_folder_with_gaps_in_numbers_and_missing_masks(tmp_path: Path) -> None:
    maps = moving(4)
    for t, number in enumerate((2, 9, 10, 40)):
        write_picture(tmp_path / "frames" / "walk" / f"im{number}.png", maps[t])
        if t != 1:
            write_palette(tmp_path / "masks" / "walk" / f"im{number}.png", maps[t])
    (sequence,) = DATASETS["folder"].sequences(tmp_path)
    assert sequence.frame_names == ("im2", "im9", "im10", "im40")
    check(sequence, maps, [0, 2, 3])


def test_a_folder_of_one_sequence_needs_no_name(tmp_path: Path) -> None:
    for t, labels in enumerate(moving(2)):
        write_picture(tmp_path / "frames" / f"{t}.png", labels)
        write_grey(tmp_path / "masks" / f"{t}.png", labels)
    (sequence,) = DATASETS["folder"].sequences(tmp_path)
    assert sequence.name == tmp_path.name
    check(sequence, moving(2), [0, 1])


def test_sequences_may_differ_in_size(tmp_path: Path) -> None:
    for name, size in (("big", (30, 40)), ("small", (20, 24))):
        for t, labels in enumerate(moving(2, size=size)):
            write_picture(tmp_path / "frames" / name / f"{t}.png", labels)
            write_palette(tmp_path / "masks" / name / f"{t}.png", labels)
    sizes = [s.truth().annotations[0].size for s in DATASETS["folder"].sequences(tmp_path)]
    assert sizes == [(30, 40), (20, 24)]


def test_grey_files_of_labels_have_no_void(tmp_path: Path) -> None:
    write_grey(tmp_path / "binary.png", grid("11.. 11.."))
    assert list(read_objects(tmp_path / "binary.png").masks) == [1]
    Image.fromarray(np.array([[0, 7], [255, 7]], np.uint8)).save(tmp_path / "labels.png")
    found = read_objects(tmp_path / "labels.png")
    assert (sorted(found.masks), found.void) == ([7, 255], None)


def test_masks_of_16_bits_keep_their_numbers(tmp_path: Path) -> None:
    labels = np.array([[0, 300], [70, 300]], np.uint16)
    Image.fromarray(labels).save(tmp_path / "deep.png")
    assert (read_labels(tmp_path / "deep.png")[0] == labels).all()
