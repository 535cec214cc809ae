"""Shared set-up of all tests."""

import pytest
import torch
from hypothesis import settings

# The same inputs on every run, and no time limit, since the machine may be busy.
settings.register_profile("bavos", derandomize=True, deadline=None, database=None)
settings.load_profile("bavos")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tensors here are so small that threads would only wait for each other.

    And to the bit, results are the same for the same number of threads only.
    """
    torch.set_num_threads(1)
