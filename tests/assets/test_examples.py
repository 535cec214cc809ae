"""The example clips show what the page can do: few objects, easily told apart."""

import numpy as np

from .helpers import EXAMPLES, Clip, every, find, load_maker

every_clip = every(EXAMPLES)


def test_there_are_four_clips():
    assert len({clip.name for clip in EXAMPLES}) == len(EXAMPLES) == 4


@every_clip
def test_objects_are_neither_tiny_nor_huge(clip: Clip):
    for object_id in clip.ids:
        shares = clip.shares(object_id)
        assert 0.04 < np.quantile(shares, 0.8), clip.facts["objects"][str(object_id)]
        assert shares.max() < 0.20, clip.facts["objects"][str(object_id)]


@every_clip
def test_objects_differ_from_each_other_and_the_scenery_in_colour(clip: Clip):
    """A clip is only a fair example if its objects can be told apart."""
    assert max(clip.colours_in_common([0, *clip.ids])) < 0.4


def test_hidden_object_comes_back_with_its_id():
    clip = find(EXAMPLES, "hide-and-seek")
    assert len(clip.frames_out_of_sight(1)) >= 5
    assert clip.shares(1)[[0, -1]].min() > 0.03
    assert clip.shares(2).min() > 0.04  # the toy in front never disappears


def test_rendering_reproduces_the_committed_mask():
    maker = load_maker("make_examples")
    clip, frame = EXAMPLES[0], 7
    example = next(example for example in maker.EXAMPLES if example.name == clip.name)
    _, mask = maker.render(example, frame / clip.facts["frames"], spp=9)
    assert np.array_equal(mask, clip.masks()[frame])
