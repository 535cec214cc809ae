"""Views show what they should: the right part, mirrored, recoloured, blurred, and nothing else."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from bavos_core.pretraining import Pictures
from bavos_core.pretraining.views import (
    LARGE,
    SMALL,
    blurred,
    cut,
    draw_pictures,
    draw_plan,
    make_views,
    recoloured,
)

from .helpers import TINY


def test_second_views_are_of_neighbouring_frames_or_of_the_same_photograph(
    pictures: Pictures,
) -> None:
    for seed in range(20):
        one, other = draw_pictures(pictures, np.random.default_rng(seed), TINY)
        assert (abs(one - other) <= TINY.gap).all()
        assert (pictures.first[one] == pictures.first[other]).all()
        assert (one < 6).sum() == 3  # photographs: all but clip_share of four samples


def test_crops_lie_within_the_picture_and_cover_what_was_asked_for(pictures: Pictures) -> None:
    rng = np.random.default_rng(0)
    for low, high in (LARGE, SMALL):
        plan = draw_plan(np.arange(14).repeat(50), pictures.aspects, (low, high), rng, 0.4)
        size = abs(plan.places[:, (0, 1), (0, 1)])
        assert (abs(plan.places[:, :, 2]) + size <= 1 + 1e-6).all()
        shares = size.prod(1)  # of the area; less where a box had to be clipped
        assert (shares <= high + 1e-6).all()
        assert np.median(shares) > low
        assert {-1.0, 1.0} == set(np.sign(plan.places[:, 0, 0]).tolist())  # some are mirrored


def test_a_whole_view_is_the_picture_and_a_mirrored_one_its_mirror_image() -> None:
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[-1, 0, 0], [0, 1, 0]]])
    found = cut(image.expand(2, -1, -1, -1), whole, 4)
    means = image.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))  # of 2×2 pixels
    assert torch.allclose(found[0], means[0], atol=1e-6)
    assert torch.allclose(found[1], means[0].flip(-1), atol=1e-6)


def test_without_colour_changes_views_keep_their_colours(pictures: Pictures) -> None:
    plan = draw_plan(np.arange(14), pictures.aspects, LARGE, np.random.default_rng(0), 0.0)
    assert np.allclose(plan.colours, np.eye(3), atol=1e-6)
    assert np.allclose(plan.contrast, 1)


def test_greys_stay_grey_and_contrast_turns_about_the_mean(pictures: Pictures) -> None:
    plan = draw_plan(np.arange(14), pictures.aspects, LARGE, np.random.default_rng(0), 1.0)
    grey = torch.full((14, 3, 2, 2), 0.25)
    found = recoloured(grey, torch.from_numpy(plan.colours), torch.ones(14))
    assert torch.allclose(found, found[:, :1].expand_as(found), atol=1e-6)
    steps = torch.tensor([0.4, 0.6]).expand(1, 3, 1, 2)
    found = recoloured(steps, torch.eye(3)[None], torch.tensor([2.0]))
    assert torch.allclose(found, torch.tensor([0.3, 0.7]).expand(1, 3, 1, 2))


def test_every_view_is_blurred_by_its_own_sigma() -> None:
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = blurred(images, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(found[0], images[0])
    for i, sigma in ((1, 0.5), (2, 1.0)):
        wanted = gaussian_filter(
            images[i].numpy(), (0, sigma, sigma), mode="nearest", radius=(0, 4, 4)
        )
        assert np.allclose(found[i], wanted, atol=1e-5)


@pytest.mark.parametrize("side", [16, 8])
def test_views_are_of_the_size_asked_for_and_follow_from_the_plan(
    pictures: Pictures, side: int
) -> None:
    plan = draw_plan(np.arange(14), pictures.aspects, SMALL, np.random.default_rng(0), 0.4)
    views = make_views(pictures.pixels, plan, side, torch.device("cpu"))
    assert views.shape == (14, 3, side, side)
    assert ((views >= 0) & (views <= 1)).all()
    assert torch.equal(views, make_views(pictures.pixels, plan, side, torch.device("cpu")))
