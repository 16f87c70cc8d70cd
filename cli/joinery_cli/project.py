"""Finds the folder that holds template.yaml and the functions."""

from __future__ import annotations

from pathlib import Path

from joinery.errors import NotFound


def find_project() -> Path:
    """Returns the project folder: the checkout that this package runs from.

    Raises:
        NotFound: The package was installed without its checkout.
    """
    for folder in Path(__file__).resolve().parents:
        if (folder / "template.yaml").is_file() and (folder / "functions").is_dir():
            return folder
    raise NotFound(
        "template.yaml is not beside this installation: run Joinery from its checkout (make setup)"
    )
