"""Objects for video editors: alpha and mattes, as other programs decode them."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_cdt

from bavos_core import Analysis, InputError, Segmentation, Settings, analyse, export, open_clip
from bavos_core.export import CutOuts
from bavos_io.clip import ArrayClip, Clip, Timeline

from .helpers import TINY, check_message
from .test_writing import played, run_ffmpeg

SUFFIXES = {"prores": ".mov", "vp9": ".webm", "matte": ".mp4"}
TIMES = np.array([0, 0.1, 0.2, 0.25, 0.5, 1.5, 1.6])


@pytest.fixture(scope="module")
def clip(square_clip) -> ArrayClip:
    """Uneven times; blocks of 2×2 pixels of a colour, since some codecs halve the colours."""
    frames = square_clip[:, ::2, ::2].repeat(2, 1).repeat(2, 2)
    return replace(ArrayClip.of(frames), timeline=Timeline(TIMES, 2.0))


@pytest.fixture(scope="module", params=["refined", "hard"])
def analysis(request: pytest.FixtureRequest, clip: ArrayClip) -> Analysis:
    return analyse(clip, Settings(**TINY, refine=request.param == "refined"))


def decoded(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Colours and alpha of a video, (F, H, W, 4) uint8, by ffmpeg; VP9's alpha needs libvpx."""
    decoder = ("-c:v", "libvpx-vp9") if path.suffix == ".webm" else ()
    raw = ("-fps_mode", "passthrough", "-pix_fmt", "rgba", "-f", "rawvideo", "-")
    return np.frombuffer(run_ffmpeg(*decoder, "-i", path, *raw), np.uint8).reshape(-1, *shape, 4)


def cut_of(analysis: Analysis) -> Segmentation:
    return analysis.segment(n_clusters=min(4, analysis.tree.leaves))


def alphas(analysis: Analysis, clip: Clip, clusters: Iterable[int]) -> np.ndarray:
    masks = export.all_masks(analysis, cut_of(analysis), clip)
    return np.stack([mask.alpha(clusters) for mask in masks])


def written(folder: Path, analysis: Analysis, clip: Clip, wanted: CutOuts) -> Path:
    export.write_cut_outs(folder, analysis, cut_of(analysis), clip, wanted)
    return folder


# ---- alpha --------------------------------------------------------------------------------------


def test_alpha_is_more_than_half_just_where_the_mask_is(analysis, clip) -> None:
    objects = cut_of(analysis).objects
    masks = export.all_masks(analysis, cut_of(analysis), clip)
    inside = np.stack([np.isin(mask.labels, objects) for mask in masks])
    assert 0.03 < inside.mean() < 0.97
    alpha = alphas(analysis, clip, objects)
    assert ((alpha > 127) == inside).mean() > 0.995  # where three clusters meet, it is not exact
    assert alpha[inside].mean() > 200
    assert alpha[~inside].mean() < 20
    soft = (alpha > 0) & (alpha < 255)
    assert soft.any() == analysis.settings.refined


def test_alpha_of_all_clusters_is_full_and_of_none_is_nothing(analysis, clip) -> None:
    assert (alphas(analysis, clip, range(cut_of(analysis).clusters)) == 255).all()
    assert (alphas(analysis, clip, ()) == 0).all()


# ---- videos -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "pixels", "colours_off", "alpha_off"),
    [("prores", "yuva444p1", 4, 3), ("vp9", "yuva420p", 20, 40)],
)
def test_a_cut_out_has_the_clips_colours_and_the_objects_alpha(
    kind, pixels, colours_off, alpha_off, analysis, clip, tmp_path
) -> None:
    path = written(tmp_path, analysis, clip, CutOuts(kind)) / f"objects{SUFFIXES[kind]}"
    times, _, end = played(path)
    np.testing.assert_allclose([*times, end], [*TIMES, 2], atol=1e-3)
    found = decoded(path, (48, 64)).astype(int)
    expected = alphas(analysis, clip, cut_of(analysis).objects)
    assert abs(found[..., 3] - expected).max() <= alpha_off
    assert abs(found[..., 3] - expected).mean() <= 1
    kept = expected > 0
    assert abs(found[..., :3] - clip.frames)[kept].mean() <= colours_off
    assert re.search(rf"Video: {kind}.*{pixels}", described(path))


def described(path: Path) -> str:
    """What ffmpeg says about a video; with the decoder that knows of VP9's alpha."""
    decoder = ("-c:v", "libvpx-vp9") if path.suffix == ".webm" else ()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", *decoder, "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True).stderr


def test_a_matte_is_white_inside_the_objects_and_black_outside(analysis, clip, tmp_path) -> None:
    path = written(tmp_path, analysis, clip, CutOuts("matte")) / "objects.mp4"
    found = decoded(path, (48, 64))[..., :3].astype(int)
    assert np.ptp(found, axis=3).max() <= 3  # grey
    expected = alphas(analysis, clip, cut_of(analysis).objects)
    assert abs(found[..., 0] - expected).mean() < 3
    assert found[expected == 255].min() > 180
    assert found[expected == 0].max() < 75


def test_png_frames_are_exact_and_black_far_from_the_objects(analysis, clip, tmp_path) -> None:
    folder = written(tmp_path, analysis, clip, CutOuts("png")) / "objects"
    assert [path.name for path in sorted(folder.iterdir())] == [f"{i:05d}.png" for i in range(7)]
    expected = alphas(analysis, clip, cut_of(analysis).objects)
    for path, frame, alpha in zip(sorted(folder.iterdir()), clip.frames, expected, strict=True):
        with Image.open(path) as picture:
            assert picture.mode == "RGBA"
            found = np.asarray(picture)
        np.testing.assert_array_equal(found[..., 3], alpha)
        far = distance_transform_cdt(alpha == 0, "chessboard")  # pixels to the nearest opaque one
        np.testing.assert_array_equal(found[..., :3], np.where(far[..., None] > 8, 0, frame))


def test_a_clip_of_odd_sides_is_cut_out_at_its_own_size_as_png(square_clip, tmp_path) -> None:
    odd = ArrayClip.of(np.ascontiguousarray(square_clip[:2, :47, :63]))
    analysis = analyse(odd, Settings(**TINY))
    written(tmp_path, analysis, odd, CutOuts("png"))
    assert Image.open(tmp_path / "objects" / "00000.png").size == (63, 47)
    written(tmp_path, analysis, odd, CutOuts("vp9"))
    assert len(decoded(tmp_path / "objects.webm", (48, 64))) == 2


def test_a_clip_from_a_file_keeps_its_times(tmp_path) -> None:
    clip = open_clip(Path(__file__).parents[1] / "cases" / "hold.gif")
    analysis = analyse(clip, Settings(backbone="descriptors", frames=3, patches=60))
    written(tmp_path, analysis, clip, CutOuts("prores"))
    copy = open_clip(tmp_path / "objects.mov")
    np.testing.assert_allclose(copy.times, clip.times, atol=1e-3)
    assert copy.end == pytest.approx(3.1, abs=1e-3)


# ---- which objects ------------------------------------------------------------------------------


def test_each_object_gets_a_file_under_its_number(clip, tmp_path) -> None:
    analysis = analyse(clip, Settings(**TINY))
    first, second = (i for i in analysis.segment(n_clusters=3).present[:2])
    wanted = CutOuts("png", clusters=(second, first), each=True)
    cut = analysis.segment(n_clusters=3)
    export.write_cut_outs(tmp_path, analysis, cut, None, wanted)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"object-{first + 1}",
        f"object-{second + 1}",
    }
    for cluster in (first, second):
        alpha = np.asarray(Image.open(tmp_path / f"object-{cluster + 1}" / "00003.png"))[..., 3]
        expected = export.analysed_mask(analysis, cut, 3).alpha([cluster])
        np.testing.assert_array_equal(alpha, expected)


def test_clusters_that_are_not_there_are_refused(clip, tmp_path) -> None:
    analysis = analyse(clip, Settings(**TINY))
    cut = analysis.segment(n_clusters=3).merged(0, 1)
    for absent in (3, -1, 0):
        with pytest.raises(InputError) as caught:
            export.write_cut_outs(tmp_path, analysis, cut, clip, CutOuts("png", (1, absent)))
        check_message(caught.value, f"no object {absent + 1}")
    for cluster in cut.present:
        cut = cut.with_role(cluster, "background")
    with pytest.raises(InputError) as caught:
        export.write_cut_outs(tmp_path, analysis, cut, clip, CutOuts("png"))
    check_message(caught.value, "no object to cut out")
    assert list(tmp_path.iterdir()) == []
