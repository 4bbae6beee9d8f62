"""Labelled messages in and out: from the files that other tools write to rows of a corpus, and back.

A file is read into records (``sources``), what a labelling tool wrapped them in is taken off (``label_studio``,
``argilla``, ``doccano``), and a mapping of columns and values (``mapping``) turns each record into a row of a corpus
(``rows``), with personal data hidden (``masking``). What cannot be used is kept aside with its place and the reason.
"""

from __future__ import annotations

from training.exchange.incoming import Progress, Summary, import_file
from training.exchange.mapping import Mapping
from training.exchange.outgoing import FORMATS, export_file

__all__ = ["FORMATS", "Mapping", "Progress", "Summary", "export_file", "import_file"]
