"""The data team's commands: ``triage base``, ``train``, ``baseline``, ``evaluate`` and ``data …``."""

from __future__ import annotations

import os

import typer

from training.cli import data, exchange, models


def register(app: typer.Typer) -> None:
    """Add the commands to ``triage``."""
    # Everything is read from folders; a hub is asked only where --base names one.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app.command("base")(models.base)
    app.command("train")(models.train)
    app.command("baseline")(models.baseline)
    app.command("evaluate")(models.evaluate)
    data.app.command("import")(exchange.import_data)
    data.app.command("export")(exchange.export_data)
    app.add_typer(data.app, name="data")
