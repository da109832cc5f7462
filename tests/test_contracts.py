"""The import contracts of pyproject.toml: kept, and broken by an import that points up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("importlinter")
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_a_search_for_rates_does_not_wait_for_the_import_of_scipy_stats():
    code = "import sys, clr_cli.study.rates; print('scipy.stats' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.stdout == b"False\n"


@pytest.mark.parametrize(
    ("module", "imported"),
    [("report/tables.py", "clr_cli.cli.terminal"), ("analysis/rule.py", "torch")],
)
def test_an_import_that_points_up_breaks_a_contract(tmp_path, module, imported):
    shutil.copytree(ROOT / "clr_cli", tmp_path / "clr_cli")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    kept = contracts(tmp_path)
    assert kept.returncode == 0, kept.stdout
    path = tmp_path / "clr_cli" / module
    path.write_text(f"{path.read_text()}\nimport {imported}  # noqa\n")
    broken = contracts(tmp_path)
    assert broken.returncode == 1
    assert f"is not allowed to import {imported.rpartition('.')[0] or imported}" in broken.stdout
