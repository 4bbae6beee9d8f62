"""Every error that this project raises on purpose, on one page.

Each class carries a stable ``code`` (it stands in API answers and may be relied upon) and a message in Chinese and in
English. A message gives the value, the limit and the next step; it never gives the text of a report.

    TriageError
    ├── InputError              what came in cannot be read
    │   ├── TextTooLong
    │   ├── CursorUnreadable    a page is asked for that no answer named
    │   ├── FileUnreadable      a whole input file
    │   └── RowUnreadable       one row of it
    ├── LexiconError            a rule file under a lexicon folder is wrong
    ├── TaxonomyError           labels are wrong or unknown
    ├── CorpusError             labelled data breaks the codebook or the schema
    ├── ReleaseError            a model folder cannot be used
    │   ├── ReleaseNotFound
    │   ├── ReleaseCorrupt      checksum, layout or allow-list
    │   ├── ReleaseDrift        loads, but answers otherwise than its golden outputs
    │   └── ReleaseRefused      whole, but may not become the one that serves, or there is nothing to go back to
    ├── TrainingError           a recipe or a base model is wrong
    ├── SettingsError           a setting is unknown or out of range
    ├── StoreError              the database cannot be used
    │   └── AuditBroken         the chain of events was changed
    ├── CaseError               a stored report does not allow what is asked
    │   ├── ReportNotFound
    │   └── ReportConflict      its key was used for another report
    └── ServiceError            the service cannot answer now
        ├── Overloaded
        ├── DeadlineExceeded
        └── NotReady
"""

from __future__ import annotations


class TriageError(Exception):
    """Base of all errors raised on purpose.

    Args:
        zh: the message in Chinese, for officers and the platform's operators.
        en: the same in English.
    """

    code = "triage_error"

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(f"{zh} / {en}")
        self.zh = zh
        self.en = en


class InputError(TriageError):
    code = "bad_input"


class TextTooLong(InputError):
    code = "text_too_long"


class CursorUnreadable(InputError):
    code = "bad_cursor"


class FileUnreadable(InputError):
    code = "file_unreadable"


class RowUnreadable(InputError):
    code = "row_unreadable"


class LexiconError(TriageError):
    code = "bad_lexicon"


class TaxonomyError(TriageError):
    code = "bad_taxonomy"


class CorpusError(TriageError):
    code = "bad_corpus"


class ReleaseError(TriageError):
    code = "bad_release"


class ReleaseNotFound(ReleaseError):
    code = "release_not_found"


class ReleaseCorrupt(ReleaseError):
    code = "release_corrupt"


class ReleaseDrift(ReleaseError):
    code = "release_drift"


class ReleaseRefused(ReleaseError):
    code = "release_refused"


class TrainingError(TriageError):
    code = "training_failed"


class SettingsError(TriageError):
    code = "bad_setting"


class StoreError(TriageError):
    code = "store_unavailable"


class AuditBroken(StoreError):
    code = "audit_broken"


class CaseError(TriageError):
    code = "case_error"


class ReportNotFound(CaseError):
    code = "report_not_found"


class ReportConflict(CaseError):
    code = "report_conflict"


class ServiceError(TriageError):
    code = "service_error"


class Overloaded(ServiceError):
    code = "overloaded"


class DeadlineExceeded(ServiceError):
    code = "deadline_exceeded"


class NotReady(ServiceError):
    code = "not_ready"
