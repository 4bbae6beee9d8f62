"""tip-triage: what a Chinese city's tips are, how sure, how urgent, and who acts.

>>> from triage import Triage
>>> engine = Triage.load("models/current")
>>> decision, = engine.classify(["对方自称公检法，让我把钱转到安全账户"])
>>> decision.label
'telecom_fraud'
"""

from __future__ import annotations

from triage.decision import Decision, Entity, Evidence
from triage.engine import Triage
from triage.errors import TriageError
from triage.taxonomy import Label, Taxonomy, Urgency

__version__ = "0.1.0"

__all__ = ["Decision", "Entity", "Evidence", "Label", "Taxonomy", "Triage", "TriageError", "Urgency", "__version__"]
