"""The exception tree: pinned codes, one root, both languages."""

from __future__ import annotations

import inspect

import pytest

from triage import errors

CODES = {
    "TriageError": "triage_error",
    "InputError": "bad_input",
    "TextTooLong": "text_too_long",
    "CursorUnreadable": "bad_cursor",
    "FileUnreadable": "file_unreadable",
    "RowUnreadable": "row_unreadable",
    "LexiconError": "bad_lexicon",
    "TaxonomyError": "bad_taxonomy",
    "CorpusError": "bad_corpus",
    "ReleaseError": "bad_release",
    "ReleaseNotFound": "release_not_found",
    "ReleaseCorrupt": "release_corrupt",
    "ReleaseDrift": "release_drift",
    "ReleaseRefused": "release_refused",
    "TrainingError": "training_failed",
    "SettingsError": "bad_setting",
    "StoreError": "store_unavailable",
    "AuditBroken": "audit_broken",
    "CaseError": "case_error",
    "ReportNotFound": "report_not_found",
    "ReportConflict": "report_conflict",
    "ServiceError": "service_error",
    "Overloaded": "overloaded",
    "DeadlineExceeded": "deadline_exceeded",
    "NotReady": "not_ready",
}
CLASSES = {name: item for name, item in vars(errors).items() if inspect.isclass(item)}


def test_codes_are_stable_and_unique() -> None:
    found = {name: item.code for name, item in CLASSES.items()}
    assert {name: found.get(name) for name in CODES} == CODES
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_is_a_triage_error_and_on_the_page(name: str) -> None:
    assert issubclass(CLASSES[name], errors.TriageError)
    assert f" {name}" in (errors.__doc__ or "") or name == "TriageError"


def test_a_message_holds_both_languages() -> None:
    error = errors.TextTooLong("太长", "too long")
    assert (error.zh, error.en, str(error)) == ("太长", "too long", "太长 / too long")
    assert isinstance(error, errors.InputError)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    parents = {"ReleaseDrift": "ReleaseError", "Overloaded": "ServiceError", "RowUnreadable": "InputError"}
    assert {name: CLASSES[name].__mro__[1].__name__ for name in parents} == parents
