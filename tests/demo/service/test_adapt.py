"""Adapting the correlator to a clip, and undoing it."""

from threading import Event

import numpy as np
import pytest

from bavos_core import InputError

from .helpers import FILES, ignore, sentence


def test_adapting_gives_a_result_of_its_own_and_can_be_undone(service, result) -> None:
    steps = list(service.adapt(result.id, 3, Event()))
    assert [step.step for step in steps] == [1, 2, 3]
    weights = [step.correlator.block.attn.qkv.weight for step in steps]
    assert not np.array_equal(*(np.asarray(w) for w in weights[:2]))
    adapted = service.adapted(result.id, steps[-1].correlator)
    assert (adapted.analysis.source, adapted.before) == ("correlator", result.id)
    assert result.analysis.source == "key-similarity"
    assert service.undo(adapted.id) is result
    names = {path.name for path in service.downloads(adapted.id, 4, (), ignore)}
    assert names == FILES | {"correlator.safetensors"}


def test_adapting_goes_on_from_the_block_of_an_adapted_result(service, result) -> None:
    first = list(service.adapt(result.id, 2, Event()))[-1].correlator
    adapted = service.adapted(result.id, first)
    again = next(iter(service.adapt(adapted.id, 1, Event()))).correlator
    moved = (again.block.attn.qkv.weight - first.block.attn.qkv.weight).abs().max()
    assert 0 < moved < 1e-3  # one step of a learning rate of 2e-4


def test_adapting_can_be_stopped_at_any_step(service, result) -> None:
    seen, stop = [], Event()
    for step in service.adapt(result.id, 50, stop):
        seen.append(step.step)
        if step.step == 2:
            stop.set()
    assert seen == [1, 2]


@pytest.mark.parametrize("steps", [0, -1, 100_000])
def test_steps_beyond_the_limits_are_bad_input(service, result, steps) -> None:
    with pytest.raises(InputError) as caught:
        next(iter(service.adapt(result.id, steps, Event())))
    assert str(steps) in sentence(caught)


def test_what_was_not_adapted_cannot_be_undone(service, result) -> None:
    with pytest.raises(InputError) as caught:
        service.undo(result.id)
    assert "not adapted" in sentence(caught)
