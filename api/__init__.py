"""How a release is served: HTTP in, decisions out. Imports ``triage``, never ``training``."""
