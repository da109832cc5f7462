"""Run ``clr export``: write a trained model for use without clr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from clr_cli.cli import terminal
from clr_cli.cli.options import AllowCode, AsJson


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, or its model.pt.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="safetensors: the weights by name, for code that has the model; torch-export: "
            "a .pt2 file that runs with PyTorch alone, from uint8 images.",
        ),
    ] = "safetensors",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="The path, without a suffix. Default: export, in the run's folder."
        ),
    ] = None,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Export a trained model for use without clr, and a description of it."""
    from clr_cli.training import export, trained

    output = output or (run if run.is_dir() else run.parent) / "export"
    export.files_of(form, output)  # refuses bad options before the model is loaded
    written = export.export(trained.load(run, allow_code=allow_code), form, output)
    if as_json:
        print(json.dumps({"files": [str(path) for path in written]}, indent=2))
    else:
        terminal.paths(written)
