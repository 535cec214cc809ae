"""The file of an analysis."""

import io
import json
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

from bavos_core import Analysis, InputError
from bavos_core.edits import Edit

from .helpers import check_message


@pytest.mark.parametrize("kind", ["square_analysis", "exact_analysis", "learned_analysis"])
def test_a_saved_analysis_gives_the_same_cuts_and_attention(kind, request, tmp_path) -> None:
    before = request.getfixturevalue(kind)
    before.save(tmp_path / "one.npz")
    after = Analysis.load(tmp_path / "one.npz")
    for tau in (0.3, 1.0, 2.5):
        first, second = before.segment(tau), after.segment(tau)
        assert (first.labels == second.labels).all()
        assert (first.background == second.background).all()
        assert (first.background == second.background).all()
    assert before.sources() == after.sources()
    for source in before.sources():
        found = after.attend(3, 20.5, 33, source=source)
        expected = before.attend(3, 20.5, 33, source=source)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_a_saved_analysis_keeps_every_field(learned_analysis, tmp_path) -> None:
    learned_analysis.save(tmp_path / "one.npz")
    after = Analysis.load(tmp_path / "one.npz")
    used = learned_analysis.settings
    assert after.settings == replace(used, correlator=Path(used.correlator).name)
    for name in ("clip_name", "frame_names", "grid", "source", "framewise_scale", "notes",
                 "timings", "peak_memory_mib", "size"):  # fmt: skip
        assert getattr(after, name) == getattr(learned_analysis, name), name
    arrays = ("times", "analysed", "frames", "nearest", "distance", "levels", "key_frames")
    for name in (*arrays, "tree.merges", "tree.counts", "tree.rows"):
        first, second = attrgetter(name)(learned_analysis), attrgetter(name)(after)
        assert (first.dtype, first.shape) == (second.dtype, second.shape), name
        assert (first == second).all(), name


def test_saving_leaves_one_file_and_replaces_what_was_there(square_analysis, tmp_path) -> None:
    path = tmp_path / "one.npz"
    path.write_text("something old")
    square_analysis.save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert Analysis.load(path).clip_name == square_analysis.clip_name


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def drop(name: str):
    def damage(path: Path) -> None:
        arrays = arrays_of(path)
        del arrays[name]
        np.savez(path, **arrays)

    return damage


def change_meta(**changes: object):
    def damage(path: Path) -> None:
        arrays = arrays_of(path)
        meta = json.loads(arrays["meta"].tobytes()) | changes
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        np.savez(path, **arrays)

    return damage


def flip_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)


def bare_array(path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    path.write_bytes(buffer.getvalue())


def pickled(path: Path) -> None:
    np.savez(path, meta=np.array([{"format": 1}], object))


DAMAGES = {
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("not an analysis"),
    "cut-short": lambda p: p.write_bytes(p.read_bytes()[:-500]),
    "cut-in-half": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "bytes-zeroed": flip_bytes,
    "bare-array": bare_array,
    "pickled": pickled,
    "other-npz": lambda p: np.savez(p, a=np.zeros(3)),
    "no-meta": drop("meta"),
    "no-merges": drop("merges"),
    "no-counts": drop("counts"),
    "no-rows": drop("rows"),
    "no-levels": drop("levels"),
    "no-keys": drop("keys"),
    "no-frames": drop("frames"),
    "meta-of-no-json": lambda p: np.savez(p, **arrays_of(p) | {"meta": np.zeros(3, np.uint8)}),
    "meta-is-a-list": lambda p: np.savez(
        p, **arrays_of(p) | {"meta": np.frombuffer(b"[1, 2]", np.uint8)}
    ),
    "another-version": change_meta(format=999),
    "unknown-settings": change_meta(settings={"zeta": 1}),
    "no-instances": drop("instances"),
    "unknown-edit": change_meta(edits=[{"action": "paint", "cluster": 0}]),
    "edits-are-text": change_meta(edits="none"),
    "edits-are-a-number": change_meta(edits=3),
    "absent": lambda p: p.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_with_a_sentence(damage, square_analysis, tmp_path) -> None:
    path = tmp_path / "one.npz"
    square_analysis.save(path)
    DAMAGES[damage](path)
    with pytest.raises(InputError) as caught:
        Analysis.load(path)
    check_message(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("version", [1, 2, 3, "4", None])
def test_a_file_of_another_version_is_refused_as_such(version, square_analysis, tmp_path) -> None:
    path = tmp_path / "one.npz"
    square_analysis.save(path)
    change_meta(format=version)(path)
    with pytest.raises(InputError) as caught:
        Analysis.load(path)
    check_message(caught.value, "one.npz", "another version", "analyse the clip again")


def test_an_edit_without_a_place_concerns_no_part_of_a_split(square_analysis) -> None:
    """Numbers after those of the hierarchy's cut belong to other clusters at finer cuts."""
    split = square_analysis.edited(Edit.split(0, at=2))
    assert split.segment(n_clusters=2).clusters > 2
    meant_for_finer = split.edited(Edit.name(2, "dog"))
    assert meant_for_finer.segment(n_clusters=2).names == {}
    assert meant_for_finer.segment(n_clusters=3).names == {2: "dog"}
    assert split.edited(Edit.name(2, "dog", at=2)).segment(n_clusters=2).names == {2: "dog"}


def test_seconds_are_kept_under_plain_names(square_analysis) -> None:
    assert {type(stage) for stage in square_analysis.timings} == {str}  # servers refuse other keys
