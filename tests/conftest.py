"""Hypothesis tries the same examples in every run, so that a change is judged by what it changes.

New examples are looked for by hand: `pytest --hypothesis-profile=explore`. What they find becomes an `@example`.
"""

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("same")
