"""``python -m clr_cli`` is ``clr``."""

from clr_cli.cli.app import main

main()
