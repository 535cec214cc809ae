"""Result folders: only files of an earlier result are replaced, and all of them or none."""

import json
from pathlib import Path

import pytest

from bavos_core import InputError
from bavos_io.folder import check_out_folder, filled


def write(out: Path, **files: str) -> None:
    """Write a result; `a__b` stands for a/b.txt."""
    with filled(out) as stage:
        for name, text in files.items():
            path = stage / f"{name.replace('__', '/')}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


def content(folder: Path) -> dict[str, str]:
    """Texts of all files below a folder, by path, without the manifest."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "bavos.json"
    }


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with a result."""
    write(tmp_path / "out", a="one", masks__0="mask", masks__1="mask")
    return tmp_path / "out"


def test_the_manifest_lists_every_other_file_with_its_size(out) -> None:
    listed = json.loads((out / "bavos.json").read_text())["bavos_files"]
    assert listed == {"a.txt": 3, "masks/0.txt": 4, "masks/1.txt": 4}
    assert {path.name for path in out.iterdir()} == {"a.txt", "masks", "bavos.json"}


def test_a_second_result_replaces_the_first_and_nothing_else(out) -> None:
    (out / "mine.txt").write_text("mine")
    (out / "masks" / "mine.txt").write_text("mine too")
    write(out, b="two", masks__0="again")
    mine = {"mine.txt": "mine", "masks/mine.txt": "mine too"}
    assert content(out) == {"b.txt": "two", "masks/0.txt": "again", **mine}


def test_folders_that_were_emptied_go_too(out) -> None:
    write(out, b="two")
    assert {path.name for path in out.iterdir()} == {"b.txt", "bavos.json"}


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        "{}",
        "not JSON",
        "[]",
        '{"bavos_files": 5}',
        '{"bavos_files": {"../above.txt": 5}}',
        '{"bavos_files": {"/etc/passwd": 5}}',
    ],
)
def test_a_folder_with_files_and_no_sound_manifest_is_refused(manifest, tmp_path) -> None:
    (tmp_path / "above.txt").write_text("above")
    out = tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    (out / "masks" / "0.txt").write_text("mine")
    if manifest:
        (out / "bavos.json").write_text(manifest)
    before = content(tmp_path)
    with pytest.raises(InputError, match="is not empty"):
        check_out_folder(out)
    with pytest.raises(InputError, match="is not empty"):
        write(out, masks__0="ours")
    assert content(tmp_path) == before


def test_an_empty_folder_and_what_a_killed_run_left_are_no_obstacle(tmp_path) -> None:
    (tmp_path / "out" / ".bavos-x1y2").mkdir(parents=True)
    write(tmp_path / "out", a="one")
    assert content(tmp_path / "out") == {"a.txt": "one"}


def test_a_listed_file_that_was_changed_is_kept(out) -> None:
    (out / "a.txt").write_text("edited by hand")
    with pytest.raises(InputError, match=r"a\.txt.* was changed"):
        check_out_folder(out)


def test_a_listed_file_that_is_missing_is_no_obstacle(out) -> None:
    (out / "a.txt").unlink()
    write(out, b="two")
    assert content(out) == {"b.txt": "two"}


def test_a_new_file_does_not_take_the_place_of_the_users(out) -> None:
    (out / "b.txt").write_text("mine")
    before = content(out)
    with pytest.raises(InputError, match="of no earlier result"):
        write(out, a="new", b="two", masks__0="new")
    assert content(out) == before


# ---- links --------------------------------------------------------------------------------------


def test_a_link_to_a_folder_is_followed_and_stays(out, tmp_path) -> None:
    link = tmp_path / "link"
    link.symlink_to(out)
    write(link, b="two")
    assert link.is_symlink()
    assert content(out) == {"b.txt": "two"}


def test_a_link_to_nothing_is_refused(tmp_path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="link to nothing"):
        check_out_folder(tmp_path / "link")


def test_links_inside_are_never_followed_and_nothing_changes(out, tmp_path) -> None:
    (out / "masks").rename(tmp_path / "elsewhere")
    (out / "masks").symlink_to(tmp_path / "elsewhere")
    before = content(tmp_path / "elsewhere") | content(out)
    with pytest.raises(InputError, match="masks' is a link"):
        check_out_folder(out)
    with pytest.raises(InputError, match="masks' is a link"):
        write(out, a="new", masks__0="new")
    assert content(tmp_path / "elsewhere") | content(out) == before


def test_a_link_that_no_manifest_lists_is_not_followed_either(tmp_path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    write(out, a="one")
    elsewhere.mkdir()
    (out / "masks").symlink_to(elsewhere)
    with pytest.raises(InputError, match="is a link"):
        write(out, a="new", masks__0="new")
    assert (content(out), content(elsewhere)) == ({"a.txt": "one"}, {})


# ---- stopped half-way ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), InputError("bad")])
def test_an_error_leaves_the_earlier_result(error, out) -> None:
    before = content(out)

    def fail() -> None:
        with filled(out) as stage:
            (stage / "a.txt").write_text("new")
            raise error

    with pytest.raises((InputError, KeyboardInterrupt)):
        fail()
    assert content(out) == before


def test_files_that_cannot_all_be_moved_are_moved_back(out) -> None:
    before = content(out)
    manifest = (out / "bavos.json").read_text()
    (out / "z").write_text("a file where a folder would have to be")
    with pytest.raises(InputError, match="could not be written"):
        write(out, a="new", masks__0="new", z__0="new")
    (out / "z").unlink()
    assert content(out) == before
    assert (out / "bavos.json").read_text() == manifest


# ---- inputs -------------------------------------------------------------------------------------


def test_inputs_inside_are_refused_by_name_and_through_links(out, tmp_path) -> None:
    clip, link = out / "clip.mp4", tmp_path / "link.mp4"
    clip.write_text("frames")
    link.symlink_to(clip)
    (out / "frames").mkdir()
    for path in (clip, link, out / "frames", out):
        with pytest.raises(InputError, match="where results go"):
            check_out_folder(out, [path])
    check_out_folder(out, [tmp_path / "other.mp4", tmp_path, Path("cross-frame")])


def test_what_cannot_be_a_folder_is_refused(tmp_path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "below", file / "far" / "below"):
        with pytest.raises(InputError, match="is a file"):
            check_out_folder(out)
