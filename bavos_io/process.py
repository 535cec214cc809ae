"""Settings of a whole process, for programs only: a library must not change its host."""

from __future__ import annotations

import logging
import os
import warnings


def prepare_process() -> None:
    """Prepare this process for Bavos. Call it before torch is loaded.

    OpenMP's threads wait for each other by sleeping rather than spinning, which starves whatever
    shares the cores: beside one busy process on two cores, clustering took 35 s spinning and 8 s
    sleeping. Pillow's warnings about images that it can read, and about sizes that are checked
    here, are not shown.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for category in (UserWarning, RuntimeWarning):
        warnings.filterwarnings("ignore", category=category, module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors go to stderr
