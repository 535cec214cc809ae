"""Bad usage and bad input end with status 2, one line on stderr, and nothing changed."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from .helpers import (
    EXAMPLE,
    QUICK,
    bavos,
    check_complaint,
    everything_below,
    run,
)


def test_an_absent_clip_stops_the_process_with_status_2_and_one_line(tmp_path) -> None:
    out = tmp_path / "out"
    done = bavos("segment", tmp_path / "absent.mp4", "--out", out, *QUICK)
    assert done.returncode == 2
    assert "absent.mp4" in check_complaint(done.stderr)
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_dino_without_network_stops_with_a_line_that_names_the_ways_out(tmp_path) -> None:
    cache = tmp_path / "cache"
    options = ("--backbone", "dino-vits8", "--frames", 2)
    done = bavos("segment", EXAMPLE, "--out", tmp_path / "out", *options, HF_HOME=str(cache))
    assert done.returncode == 2
    line = check_complaint(done.stderr)
    assert "--weights" in line
    assert "--backbone bundled-vits14 (tuned on saliency labels)" in line
    assert not (tmp_path / "out").exists()


def test_without_network_and_options_the_bundled_backbone_is_used_and_says_so(tmp_path) -> None:
    cache, out = tmp_path / "cache", tmp_path / "out"
    options = ("--frames", 2, "--size", "56x84")
    done = bavos("segment", EXAMPLE, "--out", out, *options, HF_HOME=str(cache))
    assert done.returncode == 0, done.stderr
    why, caution = done.stderr.splitlines()[:2]
    assert "dino-vits8" in why
    assert "bundled-vits14" in why
    assert "not label-free" in caution
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["backbone"] == "bundled-vits14"
    assert [why, caution] == [f"Note: {text}" for text in summary["warnings"][:2]]


SEGMENT = ("segment", EXAMPLE, "--out", "OUT", *QUICK)
ATTEND = ("attend", EXAMPLE, "--clip-frame", 0, "--point", "5,5", "--out", "HEAT", *QUICK)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "COMMAND"),
        (("frobnicate",), "frobnicate"),
        (("segment", EXAMPLE), "--out"),
        ((*SEGMENT, "--frobnicate"), "--frobnicate"),
        ((*SEGMENT, "--tau", "0"), "Tau"),
        ((*SEGMENT, "--tau", "-1"), "Tau"),
        ((*SEGMENT, "--tau", "nan"), "Tau"),
        ((*SEGMENT, "--tau", "inf"), "Tau"),
        ((*SEGMENT, "--tau", "much"), "--tau"),
        ((*SEGMENT, "--frames", "0"), "Frames"),
        ((*SEGMENT, "--frames", "some"), "--frames"),
        ((*SEGMENT, "--size", "large"), "--size"),
        ((*SEGMENT, "--size", "0x0"), "size"),
        ((*SEGMENT, "--key-ratio", "0"), "key ratio"),
        ((*SEGMENT, "--backbone", "no-such-net"), "no-such-net"),
        ((*SEGMENT, "--backbone", "resnet50"), "resnet50"),
        ((*SEGMENT, "--backbone", "dino-vits16", "--weights", "ABSENT"), "absent.pth"),
        ((*SEGMENT, "--backbone", "dino-vits16", "--weights", "TEXT"), "notes.mp4"),
        ((*SEGMENT, "--weights", "TEXT"), "descriptors"),
        ((*SEGMENT, "--correlator", "ABSENT"), "absent.pth"),
        ((*SEGMENT, "--correlator", "TEXT"), "notes.mp4"),
        ((*SEGMENT, "--device", "abacus"), "abacus"),
        ((*SEGMENT, "--precision", "fp7"), "fp7"),
        ((*SEGMENT, "--out", "TEXT"), "notes.mp4"),
        ((*SEGMENT, "--out", "BELOW"), "notes.mp4"),
        ((*SEGMENT, "--cut-out", "gif"), "gif"),
        ((*SEGMENT, "--cut-out", "png", "--objects", "all"), "'all'"),
        ((*SEGMENT, "--cut-out", "png", "--objects", "1,99"), "no object 99"),
        ((*SEGMENT, "--cut-out", "png", "--objects", "0"), "no object 0"),
        ((*SEGMENT, "--objects", "1"), "--cut-out"),
        ((*SEGMENT, "--each"), "--cut-out"),
        (("segment", "TEXT", "--out", "OUT", *QUICK), "notes.mp4"),
        (("segment", "EMPTY", "--out", "OUT", *QUICK), "empty"),
        ((*ATTEND, "--clip-frame", "40"), "40"),
        ((*ATTEND, "--clip-frame", "-1"), "-1"),
        ((*ATTEND, "--clip-frame", "first"), "--clip-frame"),
        ((*ATTEND, "--point", "433,5"), "outside"),
        ((*ATTEND, "--point", "5,241"), "outside"),
        ((*ATTEND, "--point=-1,5"), "outside"),
        ((*ATTEND, "--point", "nan,5"), "outside"),
        ((*ATTEND, "--point", "middle"), "--point"),
        ((*ATTEND, "--head", "99"), "99"),
        ((*ATTEND, "--head", "-1"), "-1"),
        ((*ATTEND, "--source", "nowhere"), "nowhere"),
        ((*ATTEND, "--source", "correlator", "--correlator", "key-similarity"), "--correlator"),
        ((*ATTEND, "--out", "TEXT.gif"), ".mp4"),
        ((*ATTEND, "--out", "FAR"), "no folder"),
        ((*ATTEND, "--out", "FOLDER"), "folder.mp4"),
        ((*ATTEND, "--npz", "HEAT"), ".npz"),
    ],
    ids=lambda value: " ".join(map(str, value[-2:])) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_used_ends_with_status_2_one_line_and_no_trace(
    arguments, named, bad_clip, tmp_path, capsys, monkeypatch
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "empty").mkdir()
    places = {
        "OUT": tmp_path / "out", "HEAT": tmp_path / "heat.mp4", "TEXT": bad_clip,
        "BELOW": bad_clip / "out", "FAR": tmp_path / "far" / "heat.mp4",
        "FOLDER": tmp_path / "folder.mp4", "EMPTY": tmp_path / "empty",
        "ABSENT": tmp_path / "absent.pth", "TEXT.gif": tmp_path / "heat.gif",
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = everything_below(tmp_path)
    assert run(*(places.get(argument, argument) for argument in arguments)) == 2
    said = capsys.readouterr()
    assert named in check_complaint(said.err)
    assert said.out == ""
    assert everything_below(tmp_path) == before


def test_a_frame_of_another_size_is_bad_input_even_when_it_was_not_analysed(
    folder_of_frames, tmp_path, capsys
) -> None:
    Image.new("RGB", (30, 20)).save(folder_of_frames / "frame11.png")
    before = everything_below(tmp_path)
    options = ("--backbone", "descriptors", "--frames", 1, "--size", "64x96")
    assert run("segment", folder_of_frames, "--out", tmp_path / "out", *options) == 2
    assert "frame11" in check_complaint(capsys.readouterr().err)
    assert everything_below(tmp_path) == before


def test_bad_input_leaves_an_earlier_result_as_it_was(folder_of_frames, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run("segment", folder_of_frames, "--out", out, *QUICK) == 0
    Image.new("RGB", (30, 20)).save(folder_of_frames / "frame11.png")
    before = everything_below(out)
    assert run("segment", folder_of_frames, "--out", out, *QUICK) == 2
    assert everything_below(out) == before


def test_help_and_version_end_with_status_0(capsys) -> None:
    for arguments in (["--help"], ["segment", "--help"], ["attend", "--help"], ["--version"]):
        assert run(*arguments) == 0
    assert "--backbone" in capsys.readouterr().out


def test_the_clip_itself_is_never_touched(folder_of_frames, tmp_path, capsys) -> None:
    before = everything_below(folder_of_frames)
    copy = shutil.copy(EXAMPLE, tmp_path / "clip.mp4")
    assert run("segment", folder_of_frames, "--out", tmp_path / "out", *QUICK) == 0
    query = ("--clip-frame", 3, "--point", "5,5", "--out", tmp_path / "heat.mp4")
    assert run("attend", copy, *query, *QUICK) == 0
    assert everything_below(folder_of_frames) == before
    assert Path(copy).read_bytes() == EXAMPLE.read_bytes()
