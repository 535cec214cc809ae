"""The commit that a trained file names."""

import pytest

from bavos_lab.revision import git_revision
from tests.lab.training.helpers import ROOT


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not run from a git checkout")
def test_the_revision_is_a_commit() -> None:
    assert len(git_revision()) == 40
    assert set(git_revision()) <= set("0123456789abcdef")
