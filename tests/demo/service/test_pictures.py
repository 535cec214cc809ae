"""Pictures and videos that the server itself makes."""

import numpy as np
import pytest

from bavos_core import Edit, InputError
from demo import images

from .helpers import sentence, written_at

QUERY = (1, 40.0, 60.0)


def test_the_overlay_is_at_preview_size_and_made_once(service, result, decode) -> None:
    cut = result.analysis.segment(n_clusters=4)
    path = service.files.overlay(result, cut)
    assert decode(path).shape == (4, 48, 64, 3)
    written = written_at(service, result)
    assert service.files.overlay(result, cut) == path
    assert written_at(service, result) == written


def test_edits_are_seen_in_the_frame(service, result) -> None:
    plain = service.frame(result.id, 1, 7, ()).astype(int)
    cut = service.cut(result.id, 7)[1]
    other = next(i for i in cut.present if i not in cut.objects)
    changed = service.frame(result.id, 1, 7, (Edit.role(other, "object"),))
    assert abs(changed - plain).max() > 30


@pytest.mark.parametrize("position", [-1, 3, 999])
def test_a_frame_that_was_not_analysed_is_bad_input(service, result, position) -> None:
    with pytest.raises(InputError) as caught:
        service.frame(result.id, position, 5, ())
    assert str(position) in sentence(caught)


def test_the_clicked_place_carries_the_ring(service, result) -> None:
    _, row = service.attention(result.id, QUERY, "key-similarity", None)
    one, other = (images.heat_frame(result.analysis, row, (1, y, 60.0)) for y in (40.0, 80.0))
    assert (one != other).any()
    np.testing.assert_array_equal(one[:, :30], other[:, :30])


def test_the_heat_video_shows_every_analysed_frame(service, result, decode) -> None:
    found, row = service.attention(result.id, (0, 10.0, 10.0), "framewise", 0)
    assert row.sum() == pytest.approx(1, abs=1e-4)
    assert decode(service.files.heatmap(found, row, (0, 10.0, 10.0))).shape == (3, 96, 128, 3)


def test_the_exact_row_of_a_place_is_that_of_its_pixel(service, result) -> None:
    row = service.exact(result.id, (1, 40 / 96, 60 / 128), "key-similarity", None)
    expected = result.analysis.attend(*QUERY, source="key-similarity")
    np.testing.assert_allclose(row, expected.ravel(), rtol=1e-5)
