"""Pins the development environment with hashes; `--upgrade` takes newer releases."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import uv

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "requirements-dev.txt"


def compile_pins(destination: Path, *, upgrade: bool = False) -> None:
    """Resolve pyproject.toml's dependencies and its `dev` extra into `destination`.

    Pins that `destination` already holds stay as they are unless `upgrade` is given.
    """
    command = [
        *(uv.find_uv_bin(), "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
        *("--python-version", "3.11", "--no-emit-index-url", "--no-annotate"),
        # An old pip looks for the extra apart from its package, and then finds it without a pin.
        "--no-strip-extras",
        *("--custom-compile-command", "python scripts/requirements.py"),
        *("--extra", "dev", "--output-file", str(destination), "pyproject.toml"),
    ]
    subprocess.run([*command, *(["--upgrade"] if upgrade else [])], cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true")
    compile_pins(PINS, upgrade=parser.parse_args().upgrade)


if __name__ == "__main__":
    main()
