"""The files of a result, and the code that reproduces it."""

import ast
import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bavos_core import Edit, InputError
from bavos_core.export import CutOuts
from demo import recipe, strings
from demo.edits import Look, checked_edits

from .helpers import FILES, ignore, sentence


def test_files_are_all_there_at_the_clips_own_size(service, result, decode) -> None:
    paths = service.downloads(result.id, 4, (), ignore)
    assert {path.name for path in paths} == FILES
    overlay = next(path for path in paths if path.name == "overlay.mp4")
    assert decode(overlay).shape == (4, 96, 128, 3)


@pytest.mark.parametrize(
    ("kind", "file"), [("prores", "objects.mov"), ("vp9", "objects.webm"), ("png", "objects.zip")]
)
def test_cut_outs_for_editors_come_with_the_files(kind, file, service, result) -> None:
    plain = service.downloads(result.id, 4, (), ignore)
    paths = service.downloads(result.id, 4, (), ignore, CutOuts(kind))
    assert {path.name for path in paths} == {*FILES, file}
    assert {path.name for path in plain} == FILES


def test_cut_outs_follow_the_roles_that_a_person_chose(service, result) -> None:
    cut = service.cut(result.id, 4)[1]
    (thing,) = cut.objects
    other = next(i for i in range(4) if i != thing)
    edits = (Edit.role(other, "object"),)
    paths = service.downloads(result.id, 4, edits, ignore, CutOuts("matte", each=True))
    names = {f"object-{i + 1}.mp4" for i in (thing, other)}
    assert {path.name for path in paths} == {*FILES, *names}


def test_files_can_be_asked_for_twice(service, result) -> None:
    first = {path.name: path.read_bytes() for path in service.downloads(result.id, 6, (), ignore)}
    again = service.downloads(result.id, 6, (), ignore)
    assert {path.name for path in again} == set(first)
    for name in ("masks.json", "hierarchy.json"):
        path = next(path for path in again if path.name == name)
        assert path.read_bytes() == first[name]


def test_progress_of_the_files_rises_to_the_end(service, result) -> None:
    shares: list[float] = []
    service.downloads(result.id, 7, (), lambda share, stage: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_files_of_an_unknown_result_are_bad_input(service) -> None:
    with pytest.raises(InputError) as caught:
        service.downloads("unknown", 4, (), ignore)
    sentence(caught)


def test_one_zip_holds_everything_else(service, result) -> None:
    paths = service.downloads(result.id, 4, (), ignore)
    assert paths[0].name == "bavos.zip"
    with zipfile.ZipFile(paths[0]) as archive:
        held = {name for name in archive.namelist() if not name.endswith("/")}
    pictures_held = {name for name in held if name.startswith("masks/")}
    assert len(pictures_held) == 4
    assert held - pictures_held == {path.name for path in paths} - {"bavos.zip", "masks.zip"}


def of(paths: list[Path], name: str) -> Any:
    """What one of the JSON files says."""
    return json.loads(next(path for path in paths if path.name == name).read_text())


def area(masks: dict, cluster: int) -> int:
    """Pixels of a cluster in all frames of masks.json."""
    return sum(a["area"] for a in masks["annotations"] if a["category_id"] == cluster + 1)


def mask_values(paths: list[Path]) -> set[int]:
    """The values in all pictures of masks.zip."""
    with zipfile.ZipFile(next(path for path in paths if path.name == "masks.zip")) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        pictures = [np.asarray(Image.open(BytesIO(archive.read(name)))) for name in names]
    return set(np.unique(pictures).tolist())


def test_names_roles_and_merges_go_into_all_files(service, result) -> None:
    cut = service.cut(result.id, 12)[1]
    (thing,) = cut.objects
    first, second, third = (i for i in range(4) if i != thing)
    edits = (
        Edit.name(second, "Red <b>box</b>"),
        Edit.merge(first, second),
        Edit.role(second, "object"),
        Edit.role(thing, "background"),
    )
    found = service.downloads(result.id, 12, edits, ignore)
    masks, hierarchy = of(found, "masks.json"), of(found, "hierarchy.json")
    categories = masks["categories"]
    assert categories[second]["name"] == "Red <b>box</b>"
    assert categories[third]["name"] == f"Background {third + 1}"
    roles = [categories[i]["supercategory"] for i in (thing, second)]
    assert roles == ["background", "object"]
    held = {annotation["category_id"] for annotation in masks["annotations"]}
    assert second + 1 in held
    assert first + 1 not in held
    assert hierarchy["roles"][str(second)] == "object"
    assert hierarchy["roles"][str(thing)] == hierarchy["roles"][str(third)] == "background"
    for names in (of(found, "summary.json")["names"], hierarchy["names"]):
        assert names[str(second)] == "Red <b>box</b>"
        assert names[str(third)] == f"Background {third + 1}"
        assert str(first) not in names
    assert mask_values(found) == {0, second + 1}
    with np.load(next(path for path in found if path.name == "labels.npz")) as labels:
        assert labels["names"][second] == "Red <b>box</b>"
        assert labels["background"].tolist() == [i != second for i in range(12)]
    plain = of(service.downloads(result.id, 12, (), ignore), "masks.json")
    assert area(masks, second) >= 0.9 * (area(plain, first) + area(plain, second))


def test_the_parts_of_a_split_go_into_all_files(service, result) -> None:
    cut = service.cut(result.id, 8)[1]
    (thing,) = cut.objects
    edits = (Edit.split(thing, at=8),)
    divided = service.cut(result.id, 8, edits)[1]
    found = service.downloads(result.id, 8, edits, ignore)
    masks, hierarchy = of(found, "masks.json"), of(found, "hierarchy.json")
    parts = [thing, *range(8, divided.clusters)]
    assert len(parts) > 1
    assert hierarchy["splits"] == {str(thing): parts}
    assert mask_values(found) == {0, *(part + 1 for part in parts)}
    assert all(area(masks, part) > 0 for part in parts)
    plain = of(service.downloads(result.id, 8, (), ignore), "masks.json")
    together = sum(area(masks, part) for part in parts)
    assert together == pytest.approx(area(plain, thing), rel=0.1)


def test_files_differ_by_names_too(service, result) -> None:
    for name in ("Ball", "Box"):
        found = service.downloads(result.id, 5, (Edit.name(1, name),), ignore)
        assert of(found, "masks.json")["categories"][1]["name"] == name


def test_the_code_gives_exactly_this_result(service, result, small_clip) -> None:
    cut = service.cut(result.id, 8)[1]
    edits = (
        Edit.split(cut.objects[0], at=8),
        Edit.name(8, 'It\'s "half"', at=8),
        Edit.role(0, "object", at=8),
        Edit.merge(3, 8, at=8),
    )
    cut = service.cut(result.id, 8, edits)[1]
    code = recipe.code(result, cut, edits, "")
    names: dict[str, Any] = {}
    python = code.split("# Python\n")[1].split("# This server")[0]
    exec(python.replace("CLIP", str(small_clip)), names)
    np.testing.assert_array_equal(names["cut"].labels, cut.labels)
    np.testing.assert_array_equal(names["cut"].background, cut.background)
    assert names["cut"].names == cut.names == {8: 'It\'s "half"'}
    sent = code.split('summary["result"], 8, ')[1].split(", api_name")[0]
    assert checked_edits(ast.literal_eval(sent)) == edits


def test_only_the_selected_objects_are_taken_along(service, result) -> None:
    two = tuple(Edit.role(i, "object") for i in range(3))
    cut = service.cut(result.id, 8, two)[1]
    chosen = cut.objects[0]
    look = Look(8, two, (chosen,)).only_selected(cut)
    found = service.downloads(result.id, 8, look.edits, ignore)
    assert mask_values(found) == {0, chosen + 1}


def test_every_file_is_said_to_be_something(service, result) -> None:
    names = [path.name for path in service.downloads(result.id, 4, (), ignore)]
    said = strings.files(names, (96, 128)).splitlines()
    assert len(said) == len(set(said)) == len(names)
    assert "**overlay.mp4**: the clip with its objects coloured, 128×96" in "".join(said)
