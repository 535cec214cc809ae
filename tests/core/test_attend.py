"""The attention of a point."""

import numpy as np
import pytest

from bavos_core import Analysis, InputError, Settings, analyse
from bavos_core.correlator import TemporalCorrelator, untrained

from .helpers import TINY, check_message, noise_clip, plain_attention, plain_unit

SOURCES = ("framewise", "cross-frame", "untrained", "correlator", "key-similarity")


def plain_heat(analysis: Analysis, source: str, frame: int, patch: int) -> np.ndarray:
    """Attention of one patch, per head: (H, T, N), worked out in numpy from the analysis alone."""
    queries, keys = (t.float().numpy() for t in (analysis.queries, analysis.keys))
    frames, _, patches, _ = keys.shape
    if source == "framewise":
        pairs = [(queries[t : t + 1], keys[t : t + 1]) for t in range(frames)]
        rows = [plain_attention(*pair, analysis.framewise_scale)[:, patch] for pair in pairs]
        return np.stack(rows, axis=1) / frames
    if source == "cross-frame":
        scale = analysis.framewise_scale
    elif source == "key-similarity":
        queries = keys = plain_unit(analysis)
        scale = analysis._projection("key-similarity").scale
    else:
        block = analysis.correlator.block if source == "correlator" else untrained(24, seed=0)
        queries, keys = plain_projection(block, analysis.tokens.numpy())
        scale = 3**-0.5  # 24 channels, 8 heads
    row = plain_attention(queries[frame : frame + 1, :, patch : patch + 1], keys, scale)[:, 0]
    return row.reshape(-1, frames, patches)


def plain_projection(block: TemporalCorrelator, tokens: np.ndarray) -> tuple[np.ndarray, ...]:
    """LayerNorm 1 and the query and key parts of `qkv`, 8 heads: (T, 8, N, 3) each."""
    weights = {k: v.detach().numpy() for k, v in block.state_dict().items()}
    x = tokens - tokens.mean(-1, keepdims=True)
    x = x / np.sqrt(tokens.var(-1, keepdims=True) + 1e-5)
    x = x * weights["norm1.weight"] + weights["norm1.bias"]
    both = (x @ weights["attn.qkv.weight"][:48].T).reshape(*x.shape[:2], 2, 8, 3)
    return tuple(both[:, :, i].swapaxes(1, 2) for i in (0, 1))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("frame", "row", "column"), [(0, 0, 0), (3, 2, 5), (6, 5, 7)])
def test_attention_at_a_patch_centre_is_the_plain_one(source, frame, row, column, learned_analysis):
    expected = plain_heat(learned_analysis, source, frame, row * 8 + column)
    where = {"frame": frame, "y": row * 8 + 4, "x": column * 8 + 4, "source": source}
    found = learned_analysis.attend(**where)
    assert found.dtype == np.float32
    assert found.shape == (7, 6, 8)
    np.testing.assert_allclose(found.reshape(7, 48), expected.mean(0), rtol=1e-3, atol=1e-6)
    for head in range(len(expected)):
        one = learned_analysis.attend(**where, head=head).reshape(7, 48)
        np.testing.assert_allclose(one, expected[head], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("source", SOURCES)
def test_attention_is_a_distribution_and_the_mean_of_its_heads(source, learned_analysis) -> None:
    for frame, y, x in ((0, 0, 0), (3, 17.3, 40.9), (6, 48, 64), (2, 47.9, 0.1)):
        heat = learned_analysis.attend(frame, y, x, source=source)
        assert (heat >= 0).all()
        assert heat.sum() == pytest.approx(1, abs=1e-5)
        heads = [
            learned_analysis.attend(frame, y, x, source=source, head=h)
            for h in range(learned_analysis.heads(source))
        ]
        np.testing.assert_allclose(heat, np.mean(heads, axis=0), rtol=1e-4, atol=1e-8)
        if source == "framewise":
            np.testing.assert_allclose(heat.sum((1, 2)), 1 / 7, rtol=1e-5)


@pytest.mark.parametrize("source", ["framewise", "cross-frame", "untrained", "key-similarity"])
def test_between_patch_centres_queries_are_mixed_by_their_nearness(source, square_analysis) -> None:
    projection = square_analysis._projection(source)
    queries = projection.queries.numpy()
    # Rows 2 and 3, columns 2 and 3 of 8: a quarter of the way down, half of the way across.
    four = {18: 0.375, 19: 0.375, 26: 0.125, 27: 0.125}
    mixed = sum(weight * queries[:, :, n] for n, weight in four.items())  # (T, H, d)
    found = square_analysis.attend(1, 2 * 8 + 4 + 2, 2 * 8 + 4 + 4, source=source)
    keys = projection.keys.numpy()
    if source == "framewise":
        rows = [plain_attention(mixed[t, None, :, None], keys[t : t + 1], projection.scale)
                for t in range(7)]  # fmt: skip
        expected = np.concatenate([r.mean(0) for r in rows]) / 7
    else:
        expected = plain_attention(mixed[1, None, :, None], keys, projection.scale).mean(0)
    np.testing.assert_allclose(found.ravel(), expected.ravel(), rtol=1e-3, atol=1e-6)


QUERIES = [(0, 4, 4), (6, 47.9, 0.1), (3, 17.3, 40.9), (3, 17.3, 40.9), (0, 48, 64)]


@pytest.mark.parametrize("source", [None, *SOURCES])
def test_many_queries_at_once_give_what_each_gives_alone(source, learned_analysis) -> None:
    for head in (None, *range(learned_analysis.heads(source))):
        found = learned_analysis.attend_all(QUERIES, head=head, source=source)
        assert found.dtype == np.float32
        assert found.shape == (len(QUERIES), 7, 6, 8)
        np.testing.assert_allclose(found.sum((1, 2, 3)), 1, atol=1e-5)
        for query, heat in zip(QUERIES, found, strict=True):
            alone = learned_analysis.attend(*query, head=head, source=source)
            np.testing.assert_allclose(heat, alone, rtol=1e-5, atol=1e-9)


def test_one_query_that_does_not_exist_among_many_is_refused(square_analysis) -> None:
    for wrong in ((7, 4, 4), (0, 49, 4), (0, 4, -1)):
        with pytest.raises(InputError) as caught:
            square_analysis.attend_all([(0, 4, 4), wrong, (1, 4, 4)])
        check_message(caught.value)


def test_no_query_at_all_gives_no_attention(square_analysis) -> None:
    assert square_analysis.attend_all([]).shape == (0, 7, 6, 8)


def test_the_picture_itself_decides_where_a_point_lies_not_the_grids_size() -> None:
    clip = noise_clip(2, (96, 128))  # twice the size that the backbone sees
    analysis = analyse(clip, Settings(**TINY))
    expected = plain_heat(analysis, "key-similarity", 1, 2 * 8 + 5).mean(0)
    found = analysis.attend(1, 2 * 16 + 8, 5 * 16 + 8, source="key-similarity")
    np.testing.assert_allclose(found.reshape(2, 48), expected, rtol=1e-3, atol=1e-6)


def test_the_outermost_half_patch_belongs_to_the_outermost_centre(square_analysis) -> None:
    for y, x, centre_y, centre_x in ((0, 0, 4, 4), (48, 64, 44, 60), (0, 64, 4, 60)):
        found = square_analysis.attend(2, y, x)
        assert (found == square_analysis.attend(2, centre_y, centre_x)).all()


def test_the_source_is_the_one_that_was_clustered_unless_given(square_analysis, learned_analysis):
    for analysis, source in ((square_analysis, "key-similarity"), (learned_analysis, "correlator")):
        assert analysis.source == source
        assert (analysis.attend(1, 9, 9) == analysis.attend(1, 9, 9, source=source)).all()


def test_learned_is_a_source_only_where_there_is_a_block(square_clip, learned_analysis) -> None:
    by_keys = analyse(square_clip, Settings(**TINY, correlator="key-similarity"))
    assert by_keys.sources() == ("framewise", "cross-frame", "untrained", "key-similarity")
    assert learned_analysis.sources() == SOURCES
    with pytest.raises(InputError) as caught:
        by_keys.attend(0, 4, 4, source="correlator")
    check_message(caught.value, "--correlator")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"frame": 7}, ("frame 7", "0 to 6")),
        ({"frame": -1}, ("frame -1",)),
        ({"y": 48.5}, ("64×48",)),
        ({"y": -0.5}, ("64×48",)),
        ({"x": 65}, ("x=65",)),
        ({"x": float("nan")}, ("nan",)),
        ({"y": float("inf")}, ("inf",)),
        ({"head": 8, "source": "untrained"}, ("head 8", "0 to 7")),
        ({"head": 1}, ("head 1",)),
        ({"head": -1}, ("head -1",)),
        ({"source": "dreams"}, ("'dreams'", "framewise")),
    ],
)
def test_a_query_that_does_not_exist_is_refused(wrong, words, square_analysis) -> None:
    with pytest.raises(InputError) as caught:
        square_analysis.attend(**({"frame": 0, "y": 4, "x": 4} | wrong))
    check_message(caught.value, *words)
