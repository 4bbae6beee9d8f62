"""Commands of ``triage`` that work on the database, one module for each subject."""
