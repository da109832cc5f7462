"""Run ``clr`` as ``python -m clr_cli``."""

from clr_cli.cli.app import main

main()
