"""The programs `bavos` and `python -m bavos_core`."""

from bavos_io.process import prepare_process


def main() -> int:
    """Run the command line and return its exit status."""
    prepare_process()
    from .cli import main as run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
