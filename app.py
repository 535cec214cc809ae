"""The entry of the Hugging Face Space, and of `python app.py`."""

import contextlib

with contextlib.suppress(ImportError):
    import spaces  # noqa: F401  # must come before torch; absent outside Spaces

from demo.page import launch

if __name__ == "__main__":
    launch()
