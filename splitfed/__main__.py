"""`python -m splitfed`."""

from splitfed.cli import main

raise SystemExit(main())
