"""The settings of every fuzz test; `conftest` registers them."""

from hypothesis import settings

FUZZ = settings.get_profile("fuzz")
