"""The entry of the Hugging Face Space, and of `python app.py`."""

import contextlib

from demo.ending import ENDING

if __name__ == "__main__":
    ENDING.listen()  # before all that takes seconds to load

with contextlib.suppress(ImportError):
    import spaces  # noqa: F401  # must precede torch; absent outside Spaces

from bavos_io.process import prepare_process
from demo import left_behind

prepare_process()  # also before torch
with ENDING.begun() as at_the_end:
    at_the_end.append(left_behind.discard)
    left_behind.prepare()  # and this before Gradio

from demo.server import launch  # noqa: E402

if __name__ == "__main__":
    launch()
