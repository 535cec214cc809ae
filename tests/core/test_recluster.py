"""Clustering again with another correlator."""

import numpy as np
import pytest
import torch

from bavos_core import InputError, backbones, recluster
from bavos_core.correlator import TrainedCorrelator, read_correlator, untrained
from bavos_core.settings import Compute

from .helpers import assert_sound, check_message, same_share


def test_another_block_finds_what_an_analysis_with_it_finds(
    square_analysis, learned_analysis, block_file
) -> None:
    found = recluster(square_analysis, read_correlator(block_file))
    assert found.source == "correlator"
    # Features are kept as float16, so borders of clusters may move by a patch or two.
    same = same_share(found.segment().labels, learned_analysis.segment().labels)
    assert same > 0.95
    heat = found.attend(1, 20, 30)
    assert np.allclose(heat, learned_analysis.attend(1, 20, 30), rtol=1e-3)
    assert_sound(found)


def test_without_a_block_it_is_back_at_the_keys_and_the_old_one_is_untouched(
    square_analysis, learned_analysis
) -> None:
    before = learned_analysis.segment().labels.copy()
    back = recluster(learned_analysis, None)
    assert (back.source, back.correlator) == ("key-similarity", None)
    assert same_share(back.segment().labels, square_analysis.segment().labels) > 0.95
    assert back.frames is learned_analysis.frames
    assert learned_analysis.source == "correlator"
    assert (learned_analysis.segment().labels == before).all()


def test_finding_anew_reports_and_times_its_two_stages(square_analysis) -> None:
    seen: list[tuple[str, float]] = []
    found = recluster(square_analysis, None, progress=lambda *news: seen.append(news))
    stages = ["attention and clustering", "instances"]
    assert list(dict.fromkeys(stage for stage, _ in seen)) == stages
    for stage in stages:
        shares = [share for name, share in seen if name == stage]
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0.0, pytest.approx(1.0))
    assert set(found.timings) == set(square_analysis.timings)
    assert found.timings["decode"] == square_analysis.timings["decode"]


def test_a_block_of_other_channels_is_refused(square_analysis) -> None:
    block = TrainedCorrelator(untrained(16, seed=0), torch.zeros(16), torch.ones(16))
    with pytest.raises(InputError, match="16 channels, and descriptors gives 24") as caught:
        recluster(square_analysis, block)
    check_message(caught.value)


def test_the_backbones_own_queries_and_keys_are_kept(square_clip, square_analysis) -> None:
    images = backbones.to_images(square_clip, (6, 8), 8)
    features = backbones.load("descriptors").encode(
        images, Compute.choose(square_analysis.settings)
    )
    assert square_analysis.framewise_scale == features.scale
    torch.testing.assert_close(square_analysis.keys, features.keys.half())
    torch.testing.assert_close(square_analysis.queries, features.queries.half())
    torch.testing.assert_close(square_analysis.tokens, features.tokens, rtol=2e-3, atol=1e-4)
