"""The front door: what `triage` offers, and what it does not drag in."""

from __future__ import annotations

import subprocess
import sys

import triage

HEAVY = ("torch", "transformers", "datasets", "pandas", "fastapi", "starlette", "sklearn", "scipy", "openpyxl", "typer")


def test_all_is_pinned_and_there() -> None:
    assert triage.__all__ == [
        "Decision",
        "Entity",
        "Evidence",
        "Label",
        "Taxonomy",
        "Triage",
        "TriageError",
        "Urgency",
        "__version__",
    ]
    assert all(hasattr(triage, name) for name in triage.__all__)


def test_everything_public_at_the_door_is_in_all() -> None:
    modules = {"annotations", "decision", "engine", "errors", "explain", "model", "policy", "taxonomy", "text"}
    later = {"bulk", "cli", "golden", "cases", "durable", "promotion", "testing"}
    public = {name for name in vars(triage) if not name.startswith("_")} - modules - later
    assert public == set(triage.__all__) - {"__version__"}


def test_importing_triage_is_light() -> None:
    code = f"import sys, triage; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_commands_are_light() -> None:
    names = HEAVY[:8]
    code = f"import sys, triage.cli; print([m for m in {names!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
