"""The store of results: bounded, private, and it cleans up after itself."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bavos_core import Analysis, InputError
from demo.store import Result, Store

CLIP = Path("clip.mp4")


@pytest.fixture
def put(tiny_analysis: Analysis):
    """Keeps a result that has one file, in a given store."""

    def kept(store: Store) -> Result:
        result = store.put(tiny_analysis, CLIP, ("A notice.",))
        (result.folder / "overlay.mp4").write_bytes(b"video")
        return result

    return kept


@pytest.fixture
def store():
    """A store for two results."""
    opened = Store(2)
    yield opened
    opened.close()


def test_a_result_is_found_under_its_id_with_all_that_was_put(store, put, tiny_analysis) -> None:
    result = put(store)
    found = store.get(result.id)
    assert found is result
    assert found.analysis is tiny_analysis
    assert found.clip == CLIP
    assert found.notices == ("A notice.",)
    assert found.folder.is_dir()


def test_the_oldest_result_goes_with_its_files(store, put) -> None:
    results = [put(store) for _ in range(3)]
    assert [result.folder.exists() for result in results] == [False, True, True]
    with pytest.raises(InputError):
        store.get(results[0].id)
    assert store.get(results[1].id) is results[1]


def test_a_result_in_use_outlives_one_that_is_not(store, put) -> None:
    used, unused = put(store), put(store)
    store.get(used.id)
    put(store)
    assert store.get(used.id) is used
    assert not unused.folder.exists()


@pytest.mark.parametrize("key", ["", "x", "../..", None])
def test_an_unknown_id_is_bad_input_with_one_sentence(store, put, key) -> None:
    put(store)
    with pytest.raises(InputError) as caught:
        store.get(key)
    assert str(caught.value) == "There is no such result (any more); press Segment again."


def test_ids_differ_and_are_too_long_to_guess(store, put) -> None:
    ids = {put(store).id for _ in range(200)}
    assert len(ids) == 200
    assert min(map(len, ids)) >= 22  # 128 bits in URL-safe base 64
    assert len({key[:6] for key in ids}) == 200  # they share no beginning, as counters would


def test_the_folder_gives_away_neither_the_id_nor_the_clips_name(store, put) -> None:
    result = put(store)
    assert result.id not in str(result.folder)
    assert CLIP.stem not in result.folder.name


def test_another_stores_id_opens_nothing(store, put) -> None:
    other = Store(2)
    result = put(other)
    with pytest.raises(InputError):
        store.get(result.id)
    other.close()


def test_the_limit_holds_when_many_put_at_once(tiny_analysis) -> None:
    store = Store(3)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: store.put(tiny_analysis, CLIP, ()), range(40)))
    assert sum(result.folder.exists() for result in results) == 3
    store.close()


def test_a_clips_preview_folder_stays_the_same_and_old_ones_go(store) -> None:
    first = store.preview_folder(Path("first.mp4"))
    assert store.preview_folder(Path("first.mp4")) == first
    (first / "original.mp4").write_bytes(b"video")
    others = [store.preview_folder(Path(f"{i}.mp4")) for i in range(20)]
    assert not first.exists()
    assert others[-1].is_dir()
    assert sum(folder.exists() for folder in others) <= 8


def test_closing_deletes_every_file_and_forgets_every_result(put) -> None:
    store = Store(2)
    result, preview = put(store), store.preview_folder(CLIP)
    store.close()
    assert not result.folder.exists()
    assert not preview.exists()
    with pytest.raises(InputError):
        store.get(result.id)
