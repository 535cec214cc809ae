"""Turns against a plain simulation of what they promise, with many random arrivals."""

import random
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from bavos_core import Cancelled, InputError
from demo.turns import Busy, Turns

SENTENCES = {
    "full": "Too many jobs are waiting on this server; try again in a minute.",
    "own": "3 jobs from your address are waiting already; let one finish or cancel it first.",
}


def turns(at_once: int = 1, each: int = 1, waiting: int = 8, waiting_each: int = 3) -> Turns:
    return Turns(at_once=at_once, each=each, waiting=waiting, waiting_each=waiting_each)


@dataclass(eq=False)
class Job:
    """A job as the simulation sees it."""

    address: str
    exit: ExitStack = field(default_factory=ExitStack)
    place: object = None


class Plain:
    """The promises, in the plainest way."""

    def __init__(self, at_once: int, each: int, waiting: int, waiting_each: int):
        self.at_once, self.each = at_once, each
        self.most, self.most_each = waiting, waiting_each
        self.running: list[Job] = []
        self.waiting: list[Job] = []
        self.last: dict[str, int] = {}
        self.given = 0

    def of(self, jobs: list[Job], address: str) -> list[Job]:
        return [job for job in jobs if job.address == address]

    def arrive(self, job: Job) -> Job | None:
        """Return the job that there is no place for, if any."""
        self.last.setdefault(job.address, self.given - self.at_once)
        self.waiting.append(job)
        self.admit()
        if job in self.running:
            return None
        own = self.of(self.waiting, job.address)
        refused = None
        if len(own) > self.most_each:
            refused = job
        elif len(self.waiting) > self.most:
            counts = {other.address: len(self.of(self.waiting, other.address))
                      for other in self.waiting}  # fmt: skip
            greedy = max(counts, key=counts.__getitem__)
            refused = job if counts[greedy] <= len(own) else self.of(self.waiting, greedy)[-1]
        if refused:
            self.waiting.remove(refused)
        return refused

    def end(self, job: Job) -> None:
        (self.running if job in self.running else self.waiting).remove(job)
        self.admit()

    def admit(self) -> None:
        while len(self.running) < self.at_once:
            free = [
                job for job in self.waiting
                if len(self.of(self.running, job.address)) < self.each
            ]  # fmt: skip
            if not free:
                return
            job = min(free, key=lambda waiting: self.last[waiting.address])
            self.waiting.remove(job)
            self.running.append(job)
            self.given += 1
            self.last[job.address] = self.given


@pytest.mark.parametrize("seed", range(40))
def test_turns_are_those_of_the_simulation(seed: int) -> None:
    rng = random.Random(seed)
    bounds = rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 12), rng.randint(1, 6)
    ours, plain = turns(*bounds), Plain(*bounds)
    addresses = [f"192.0.2.{i}" for i in range(rng.randint(1, 6))]
    here: list[Job] = []
    for _ in range(400):
        if here and rng.random() < 0.45:  # one ends, or gives up waiting
            job = here.pop(rng.randrange(len(here)))
            plain.end(job)
            job.exit.close()
        else:
            job = Job(rng.choice(addresses))
            refused = plain.arrive(job)
            if refused is job:
                with pytest.raises(Busy):
                    job.exit.enter_context(ours.place(job.address))
            else:
                job.place = job.exit.enter_context(ours.place(job.address))
                here.append(job)
            if refused and refused is not job:
                here.remove(refused)
                with pytest.raises(Busy):
                    next(ours.wait(refused.place))
                refused.exit.close()
        assert {job for job in here if job.place.has_turn} == set(plain.running)
        assert len(plain.running) <= bounds[0]
        for address in addresses:
            assert len(plain.of(plain.running, address)) <= bounds[1]
    for job in here:
        job.exit.close()
    assert not ours.busy
    assert not ours._waiting


@pytest.mark.parametrize("seed", range(10))
def test_nobody_starves_however_many_ask_and_whoever_is_new(seed: int) -> None:
    rng, ours = random.Random(seed), turns(waiting=1000, waiting_each=3)
    running = ExitStack()
    running.enter_context(ours.place("first"))
    waiting = {i: ours.place(f"crowd {i % 9}").__enter__() for i in range(20)}
    with ours.place("one") as patient:
        for turn in range(12):  # the nine of the crowd, and those whose turn was longer ago
            if patient.has_turn:
                break
            for i in range(rng.randint(1, 5)):  # newcomers
                ours.place(f"new {turn} {i}").__enter__()
            (current,) = ours._running
            with ours._changed:  # its job ends
                ours._running.remove(current)
                ours._admit()
        assert patient.has_turn
    assert waiting


def test_a_flood_of_one_address_delays_another_by_one_job() -> None:
    ours = turns(waiting=20, waiting_each=10)
    with ExitStack() as flood:
        for _ in range(11):
            flood.enter_context(ours.place("flood"))
        with ours.place("one") as place:
            assert next(ours.wait(place)) == 1
            assert not place.has_turn
            first = ours._running[0]
            with ours._changed:
                ours._running.remove(first)
                ours._admit()
            assert place.has_turn


def test_who_waits_is_told_how_many_are_before_and_can_be_cancelled_at_once() -> None:
    ours, heard = turns(), list[str]()

    def cancel(_share: float, doing: str) -> None:
        heard.append(doing)
        raise Cancelled

    with ours.turn("ann"), ours.place("ann"), ours.place("cid"):
        with pytest.raises(Cancelled), ours.turn("ben", cancel):
            pass
        assert len(ours._waiting) == 2
    with ours.turn("ann"), pytest.raises(Cancelled), ours.turn("ben", cancel):
        pass
    assert heard == ["waiting: 2 jobs before yours", "waiting: 1 job before yours"]
    assert not ours.busy


def test_what_has_no_place_is_told_so_in_one_sentence() -> None:
    ours = turns(waiting=4)
    with ExitStack() as taken:
        for who in ("ann", "ann", "ann", "ann", "ben"):
            taken.enter_context(ours.place(who))
        with pytest.raises(InputError) as own, ours.place("ann"):
            pass
        cid = taken.enter_context(ours.place("cid"))  # at the cost of one of Ann's
        assert not cid.lost
        taken.enter_context(ours.place("dan"))
        with pytest.raises(InputError) as full, ours.place("eve"):
            pass
    assert [str(full.value), str(own.value)] == [*SENTENCES.values()]


def test_a_turn_ends_with_what_fails_in_it_and_the_next_begins() -> None:
    ours = turns()
    begun, order = threading.Event(), list[str]()

    def work(name: str) -> None:
        with ours.turn(name):
            begun.set()
            order.append(name)

    others = [threading.Thread(target=work, args=(name,)) for name in ("ben", "cid")]

    def fail() -> None:
        with ours.turn("ann"):
            for other in others:
                other.start()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    for other in others:
        other.join(10)
    assert sorted(order) == ["ben", "cid"]
    assert begun.is_set()
    assert not ours.busy


def test_never_more_than_allowed_run_in_many_threads() -> None:
    ours = turns(at_once=3, each=2, waiting=1000, waiting_each=1000)
    lock, now, most = threading.Lock(), list[str](), list[tuple[int, int]]()

    def work(name: str) -> None:
        for _ in range(50):
            with ours.turn(name):
                with lock:
                    now.append(name)
                    most.append((len(now), now.count(name)))
                with lock:
                    now.remove(name)

    threads = [threading.Thread(target=work, args=(f"{i % 4}",)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(most) == 600
    assert max(total for total, _ in most) <= 3
    assert max(own for _, own in most) <= 2


def test_what_is_known_of_addresses_is_bounded() -> None:
    ours = turns()
    for i in range(3000):
        with ours.turn(f"{i}"):
            pass
    assert len(ours._last) <= 1001
