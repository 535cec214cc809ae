"""Results: found by their ids only, bounded, and kept while in use."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bavos_core import InputError
from demo.store import Store

from .helpers import SENTENCE, Asking, Kept


def test_a_result_is_found_under_its_id_with_all_that_was_put(store, put, tiny_analysis) -> None:
    result, folder = put(store)
    found = store.get(result.id)
    assert found is result
    assert found.analysis is tiny_analysis
    assert found.notices == ("A notice.",)
    with store.room(found) as room:
        assert room == folder
        assert (room / found.clip).read_bytes() == b"0123456789"
        assert (room / found.clip).suffix == ".mp4"
        assert (room / "overlay.mp4").read_bytes() == b"video"


def test_the_oldest_result_goes_with_its_files(store, put) -> None:
    kept = [put(store) for _ in range(3)]
    assert [folder.exists() for _, folder in kept] == [False, True, True]
    with pytest.raises(InputError):
        store.get(kept[0].id)
    assert store.get(kept[1].id) is kept[1].result


def test_a_result_that_was_asked_for_outlives_one_that_was_not(store, put) -> None:
    asked_for, other = put(store), put(store)
    store.get(asked_for.id)
    put(store)
    assert store.get(asked_for.id) is asked_for.result
    assert not other.folder.exists()


@pytest.mark.parametrize("key", ["", "x", "../..", None])
def test_an_unknown_id_is_bad_input_with_one_sentence(store, put, key) -> None:
    put(store)
    with pytest.raises(InputError) as caught:
        store.get(key)
    assert str(caught.value) == SENTENCE


def test_ids_differ_and_are_too_long_to_guess(store, put) -> None:
    ids = {put(store).id for _ in range(200)}
    assert len(ids) == 200
    assert min(map(len, ids)) >= 22  # 128 bits in URL-safe base 64
    assert len({key[:6] for key in ids}) == 200  # they share no beginning, as counters would


def test_the_folder_gives_away_neither_the_id_nor_the_clips_name(store, put) -> None:
    result, folder = put(store)
    assert result.id not in str(folder)
    assert "holiday" not in str(folder / result.clip)


def test_another_stores_id_opens_nothing(store, put) -> None:
    other = Store()
    result = put(other)
    with pytest.raises(InputError):
        store.get(result.id)
    other.close()


def test_the_limit_holds_when_many_put_at_once(tiny_analysis, clip, size) -> None:
    store = Store(most_bytes=3 * size)
    many = threading.Barrier(8)

    def put(_: int) -> Kept:
        with store.put(tiny_analysis, clip, ()) as result, store.room(result) as folder:
            many.wait(60)  # until there are more at once than the store may hold
            (folder / "overlay.mp4").write_bytes(b"video")
            many.wait(60)
            assert (folder / result.clip).read_bytes() == b"0123456789"
        return Kept(result, folder)

    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(put, range(40)))
    present = [result for result, folder in kept if folder.exists()]
    assert len(present) == 3
    assert sum(result.nbytes for result in present) == 3 * size
    assert all(store.get(result.id) is result for result in present)
    store.close()


def test_what_is_in_use_counts_but_stays(store, put) -> None:
    used, idle = put(store), put(store)
    with store.room(used.result):
        newest = put(store)
        assert not idle.folder.exists()
        assert used.folder.exists()
    assert store.get(used.id) is used.result
    assert store.get(newest.id) is newest.result


def test_what_was_too_much_goes_when_it_is_no_more_in_use(store, put) -> None:
    oldest, older = put(store), put(store)
    with store.room(older.result):
        with store.room(oldest.result):
            newest = put(store)
            assert store.get(newest.id) is newest.result
            assert oldest.folder.exists()
        assert not oldest.folder.exists()
    assert older.folder.exists()
    assert newest.folder.exists()


def test_a_result_that_is_dropped_goes_when_its_last_user_has_left(store, put) -> None:
    result, folder = put(store)
    with store.room(result):
        with store.room(result):
            store.drop(result.id)
            with pytest.raises(InputError) as asked:
                store.get(result.id)
            with pytest.raises(InputError) as entered, store.room(result):
                pass
        assert (folder / "overlay.mp4").read_bytes() == b"video"
    assert not folder.exists()
    assert str(asked.value) == str(entered.value) == SENTENCE


def test_a_room_is_left_also_by_what_fails_in_it(store, put) -> None:
    result, folder = put(store)

    def fail() -> None:
        store.drop(result.id)
        assert folder.exists()
        raise KeyError

    with pytest.raises(KeyError), store.room(result):
        fail()
    assert not folder.exists()


def test_a_room_is_left_by_a_generator_that_nobody_goes_on_with(store, put) -> None:
    result, folder = put(store)

    def work():
        with store.room(result):
            yield

    steps = work()
    next(steps)
    store.drop(result.id)
    assert folder.exists()
    del steps
    assert not folder.exists()


def test_a_result_whose_first_files_fail_is_not_kept(store, put, tiny_analysis, clip) -> None:
    other = put(store)
    with pytest.raises(KeyError), store.put(tiny_analysis, clip, ()) as result:
        raise KeyError
    with pytest.raises(InputError):
        store.get(result.id)
    assert {path.parent for path in store.root.glob("*/clip.mp4")} == {other.folder}


def test_a_clip_that_went_leaves_no_folder(store, put, tiny_analysis, tmp_path) -> None:
    before = set(store.root.iterdir())
    with (
        pytest.raises(InputError, match="no longer on the server; upload it again"),
        store.put(tiny_analysis, tmp_path / "none.mp4", ()),
    ):
        pass
    assert set(store.root.iterdir()) == before


def test_a_result_outlives_the_file_that_it_was_made_from(store, put, clip) -> None:
    result, _ = put(store)
    clip.unlink()
    with store.room(result) as folder:
        assert (folder / result.clip).read_bytes() == b"0123456789"


def test_one_result_is_kept_even_if_it_is_too_large(put, size) -> None:
    store = Store(most_bytes=size // 2)
    first, second = put(store), put(store)
    assert not first.folder.exists()
    assert store.get(second.id) is second.result
    store.close()


def test_whoever_knows_the_id_finds_a_result(put) -> None:
    asking = Asking()
    store = Store(whose=asking)
    of_ann = put(store)
    asking.who = "Ben"
    assert store.get(of_ann.id) is of_ann.result
    store.close()


def test_what_is_made_for_the_viewer_counts(store, put, size) -> None:
    first, second = put(store), put(store)
    store.grow(second.result, size // 2)
    put(store)
    assert not first.folder.exists()
    assert not second.folder.exists()
