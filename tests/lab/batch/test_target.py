"""Folders and object stores as places of results. fsspec's own file systems are the stores."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from bavos_core import InputError
from bavos_lab.batch.ledger import Ledger
from bavos_lab.batch.rows import Status
from bavos_lab.batch.target import Disk, Store, Target, open_target

from .helpers import row

KEY = "0123456789abcdef01234567"


@pytest.fixture(params=["disk", "file", "memory"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    places = {
        "disk": str(tmp_path / "out"),
        "file": f"file://{tmp_path}/out",
        "memory": "memory://out",
    }
    made = open_target(places[request.param])
    made.prepare()
    yield made
    fsspec.filesystem("memory").store.clear()


def fill(room: Path) -> Path:
    """A folder of results in a room."""
    folder = room / "results"
    (folder / "masks").mkdir(parents=True)
    (folder / "masks" / "0.png").write_bytes(b"mask")
    (folder / "bavos.json").write_bytes(b"{}")
    return folder


def test_small_files(target: Target, tmp_path: Path) -> None:
    assert target.read("a/b.json") is None
    target.write("a/b.json", b"1")
    target.write("a/b.json", b"22")
    assert target.read("a/b.json") == b"22"
    (tmp_path / "c").write_bytes(b"3")
    target.put_file(tmp_path / "c", "d/e")
    assert target.read("d/e") == b"3"


def test_results_appear_with_all_their_files_and_rooms_are_removed(target: Target) -> None:
    with target.room(KEY) as room:
        target.put(fill(room), f"clips/a-{KEY}")
    assert not room.exists()
    assert target.read(f"clips/a-{KEY}/masks/0.png") == b"mask"
    assert target.read(f"clips/a-{KEY}/bavos.json") == b"{}"
    assert list(target.names("clips")) == [f"a-{KEY}"]


def test_results_replace_those_that_were_left_without_a_record(target: Target) -> None:
    for _ in range(2):
        with target.room(KEY) as room:
            target.put(fill(room), f"clips/a-{KEY}")
    assert list(target.names("clips")) == [f"a-{KEY}"]


def test_cleaning_removes_results_without_a_record_and_no_others(target: Target) -> None:
    ledger, other = Ledger(target), "f" * 24
    for key in (KEY, other):
        with target.room(key) as room:
            target.put(fill(room), f"clips/a-{key}")
    ledger.enter(row(key=KEY, folder=f"clips/a-{KEY}"))
    ledger.clean()
    assert list(target.names("clips")) == [f"a-{KEY}"]


def test_a_record_counts_only_with_its_results(target: Target) -> None:
    ledger = Ledger(target)
    done, bad = row(key=KEY, folder=f"clips/a-{KEY}"), row(key="b" * 24, status=Status.BAD)
    ledger.enter(done)
    ledger.enter(bad)
    assert ledger.record(KEY) is None  # a person has removed them
    assert ledger.record("b" * 24) == bad
    with target.room(KEY) as room:
        target.put(fill(room), f"clips/a-{KEY}")
    assert ledger.record(KEY) == done


def test_a_record_that_was_not_written_whole_does_not_count(target: Target) -> None:
    ledger = Ledger(target)
    ledger.enter(row(key=KEY, status=Status.BAD))
    whole = row(key=KEY, status=Status.BAD).to_json()
    target.write(f".batch/records/01/{KEY}.json", whole[:-20])
    assert ledger.record(KEY) is None


def test_a_store_writes_the_list_of_files_last(tmp_path: Path) -> None:
    class Failing(type(fsspec.filesystem("memory"))):  # type: ignore[misc]
        """A store whose connection is lost in the middle of a folder."""

        protocol = "failing"
        cachable = False

        def put_file(self, local: str, *rest: object, **more: object) -> None:
            if local.endswith("0.png"):
                raise ConnectionResetError("lost")
            super().put_file(local, *rest, **more)

    fsspec.register_implementation("failing", Failing, clobber=True)
    store = Store("failing://out")
    with pytest.raises(ConnectionResetError), store.room(KEY) as room:
        store.put(fill(room), f"clips/a-{KEY}")
    assert store.read(f"clips/a-{KEY}/bavos.json") is None


def test_who_wants_the_same_clip_waits_for_it(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "out")
    disk.prepare()
    with disk.room(KEY) as room:
        (room / "half").touch()
        disk.clean()  # of another run
        disk.remove("clips/none", KEY)
        assert (room / "half").exists()
        with disk.room("b" * 24) as other:  # another clip does not wait
            assert other != room
    assert list((tmp_path / "out" / ".batch" / "work").iterdir()) == []


def test_rooms_of_dead_workers_are_removed(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "out")
    disk.prepare()
    left = tmp_path / "out" / ".batch" / "work" / f"{KEY}-1a2b"
    left.mkdir()
    (left / "half").touch()
    left.with_name(f"{KEY}.lock").touch()
    disk.clean()
    assert list(left.parent.iterdir()) == []


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds no earlier batch"):
        Disk(tmp_path).prepare()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "nothing://user:secret@bucket/x",
            "nothing://bucket/x cannot be opened: Protocol not known",
        ),
        ("file:///proc/none/out", "file:///proc/none/out cannot be written to"),
    ],
)
def test_stores_that_cannot_be_used(url: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        open_target(url).prepare()
    assert "secret" not in str(caught.value)
