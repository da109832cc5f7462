"""``python -m clr_cli`` is ``clr``."""

from clr_cli.cli import main

main()
