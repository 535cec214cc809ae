"""The store of results: bounded, private, and it cleans up after itself."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bavos_core import Analysis, InputError
from demo.store import Result, Store

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = "There is no such result (any more); press Segment again."


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten bytes that say they are a clip: the store does not look into them."""
    path = tmp_path / "holiday.mp4"
    path.write_bytes(b"0123456789")
    return path


@pytest.fixture
def size(tiny_analysis: Analysis) -> int:
    """Bytes that one result takes."""
    a = tiny_analysis
    arrays = (a.frames, a.nearest, a.distance, a.levels, a.queries.numpy(), a.keys.numpy())
    return sum(array.size * array.itemsize for array in arrays) + 10


@pytest.fixture
def put(tiny_analysis: Analysis, clip: Path):
    """Keeps a result that has one file, in a given store."""

    def kept(store: Store) -> Result:
        result = store.put(tiny_analysis, clip, ("A notice.",))
        (result.folder / "overlay.mp4").write_bytes(b"video")
        return result

    return kept


@pytest.fixture
def store(size: int):
    """A store for two results."""
    opened = Store(most_bytes=2 * size)
    yield opened
    opened.close()


class Asking:
    """Who asks a store: one visitor after another."""

    who = "Ann"

    def __call__(self) -> str:
        return self.who


def test_a_result_is_found_under_its_id_with_all_that_was_put(store, put, tiny_analysis) -> None:
    result = put(store)
    found = store.get(result.id)
    assert found is result
    assert found.analysis is tiny_analysis
    assert found.clip.read_bytes() == b"0123456789"
    assert found.clip.suffix == ".mp4"
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
    assert str(caught.value) == SENTENCE


def test_ids_differ_and_are_too_long_to_guess(store, put) -> None:
    ids = {put(store).id for _ in range(200)}
    assert len(ids) == 200
    assert min(map(len, ids)) >= 22  # 128 bits in URL-safe base 64
    assert len({key[:6] for key in ids}) == 200  # they share no beginning, as counters would


def test_the_folder_gives_away_neither_the_id_nor_the_clips_name(store, put) -> None:
    result = put(store)
    assert result.id not in str(result.folder)
    assert "holiday" not in str(result.clip)


def test_another_stores_id_opens_nothing(store, put) -> None:
    other = Store()
    result = put(other)
    with pytest.raises(InputError):
        store.get(result.id)
    other.close()


def test_the_limit_holds_when_many_put_at_once(put, size) -> None:
    store = Store(most_bytes=3 * size)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: put(store), range(40)))
    assert sum(result.folder.exists() for result in results) == 3
    store.close()


def test_a_clips_preview_folder_stays_the_same_and_old_ones_go(store) -> None:
    first = store.preview_folder(Path("first.mp4"))
    assert store.preview_folder(Path("first.mp4")) == first
    (first / "original.mp4").write_bytes(b"video")
    others = [store.preview_folder(Path(f"{i}.mp4")) for i in range(100)]
    assert not first.exists()
    assert others[-1].is_dir()
    assert sum(folder.exists() for folder in others) == 64


def test_closing_deletes_every_file_and_forgets_every_result(put, clip) -> None:
    store = Store()
    result, preview = put(store), store.preview_folder(clip)
    store.close()
    assert not result.folder.exists()
    assert not preview.exists()
    assert not store.root.exists()
    with pytest.raises(InputError):
        store.get(result.id)


def test_a_result_outlives_the_file_that_it_was_made_from(store, put, clip) -> None:
    result = put(store)
    clip.unlink()
    assert store.get(result.id).clip.read_bytes() == b"0123456789"


def test_one_result_is_kept_even_if_it_is_too_large(put, size) -> None:
    store = Store(most_bytes=size // 2)
    first, second = put(store), put(store)
    assert not first.folder.exists()
    assert store.get(second.id) is second
    store.close()


def test_nobody_else_finds_a_result(put) -> None:
    asking = Asking()
    store = Store(whose=asking)
    of_ann = put(store)
    asking.who = "Ben"
    of_ben = put(store)
    with pytest.raises(InputError) as caught:
        store.get(of_ann.id)
    assert str(caught.value) == SENTENCE  # the same as for one that never was
    assert store.get(of_ben.id) is of_ben
    asking.who = "Ann"
    assert store.get(of_ann.id) is of_ann
    store.close()


def test_what_a_visitor_leaves_goes_and_what_others_have_stays(put) -> None:
    asking = Asking()
    store = Store(whose=asking)
    gone = [put(store), put(store)]
    asking.who = "Ben"
    stays = put(store)
    store.drop_all_of("Ann")
    assert not any(result.folder.exists() for result in gone)
    assert store.get(stays.id) is stays
    store.close()


def test_everything_goes_after_the_stated_time(put, clip, monkeypatch) -> None:
    store = Store(keep_seconds=100)
    now = 1000.0
    monkeypatch.setattr("demo.store.time.monotonic", lambda: now)
    old, preview = put(store), store.preview_folder(clip)
    now = 1090.0
    store.sweep()
    assert old.folder.exists()
    assert preview.exists()
    now = 1101.0
    with pytest.raises(InputError):
        store.get(old.id)  # at once, not when the next sweep comes
    store.sweep()
    assert not old.folder.exists()
    assert not preview.exists()
    store.close()


def test_what_a_killed_server_left_goes_when_the_next_one_starts(store, put) -> None:
    """And what a server that still runs uses stays: `store` here is such a one."""
    result = put(store)
    program = (
        "from demo.store import Store; import time; "
        "s = Store(); (s.root / 'frame.png').write_bytes(b'x'); "
        "print(s.root, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        left = Path(server.stdout.readline().strip())
        os.kill(server.pid, signal.SIGKILL)
    assert (left / "frame.png").exists()
    assert left.parent == Path(tempfile.gettempdir())
    with contextlib.closing(Store()):
        assert not left.exists()
        assert store.get(result.id) is result
        assert result.clip.exists()


def test_old_files_of_the_cache_go_and_those_of_the_page_stay(monkeypatch) -> None:
    store = Store(keep_seconds=100)

    def write(name: str) -> Path:
        path = store.cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if "empty" in name else b"picture")
        return path

    lasting = write("a/example.webp")
    store.keep_cached()
    old = [write(name) for name in ("a/upload.mp4", "b/c/picture.webp", "empty")]
    later = time.time() + 90
    monkeypatch.setattr("demo.store.time.time", lambda: later)
    store.sweep()
    assert all(path.exists() for path in old)
    later += 20
    for _ in range(3):  # a folder changes, and so is young, when something in it goes
        store.sweep()
    assert lasting.exists()
    assert not any(path.exists() for path in old)
    later += 100
    for _ in range(3):
        store.sweep()
        later += 100
    assert {path.name for path in store.cache.rglob("*")} == {"a", "example.webp"}
    store.close()
