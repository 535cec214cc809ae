"""`bavos` and `python -m bavos_core`."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
