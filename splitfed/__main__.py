"""`python -m splitfed`."""

from splitfed.cli.main import main

raise SystemExit(main())
