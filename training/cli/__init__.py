"""The data team's commands: ``base``, ``train``, ``baseline``, ``evaluate``, ``compare``, ``data``, and the gate."""

from __future__ import annotations

import os

import typer

from training.cli import compare, data, exchange, models, release


def register(app: typer.Typer) -> None:
    """Add the commands to ``triage``."""
    # Everything is read from folders; a hub is asked only where --base names one.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app.command("base")(models.base)
    app.command("train")(models.train)
    app.command("baseline")(models.baseline)
    app.command("evaluate")(models.evaluate)
    app.command("compare")(compare.compare)
    data.app.command("import")(exchange.import_data)
    data.app.command("export")(exchange.export_data)
    app.add_typer(data.app, name="data")
    app.add_typer(release.app)
