"""`python -m bavos_core`."""

from .cli import main

raise SystemExit(main())
