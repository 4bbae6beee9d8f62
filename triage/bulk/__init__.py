"""Whole files through the engine: JSONL, CSV or XLSX in, JSONL, CSV or XLSX out.

Rows stream in chunks; a run that is killed goes on where it stopped, without a doubled or a lost row; rows that
cannot be read are kept aside with their reason while the good ones go on.
"""

from __future__ import annotations

from triage.bulk.rows import Options, Rejected, Row
from triage.bulk.run import Progress, Summary, classify_file
from triage.bulk.writers import FIELDS

__all__ = ["FIELDS", "Options", "Progress", "Rejected", "Row", "Summary", "classify_file"]
