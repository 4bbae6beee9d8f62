"""Where the README's figures come from: run ``make bench``."""
