"""Fuzz tests: arbitrary and damaged input; nothing but our own errors may come out.

A test here is decorated with `@FUZZ`, above `@given`. The default run is bounded and belongs to the suite. A long run:

    python -m pytest tests/fuzz --fuzz-examples 100000

Input that once broke something stays with its test, as an `@example` or a file.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_HERE = Path(__file__).parent
_DEFAULT_EXAMPLES = 100


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-examples", type=int, metavar="N", help="examples of each fuzz test, for long runs")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the settings that `tests.fuzz.settings` gives to the tests; they are imported after this."""
    settings.register_profile(
        "fuzz",
        max_examples=_examples(config) or _DEFAULT_EXAMPLES,
        deadline=None,  # a loaded machine is no failure
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A long run has no timeout."""
    if _examples(config):
        for item in items:
            if _HERE in item.path.parents:
                item.add_marker(pytest.mark.timeout(0))


def _examples(config: pytest.Config) -> int | None:
    # The option is unknown where this file was not among those that pytest read before the command line.
    examples: int | None = getattr(config.option, "fuzz_examples", None)
    return examples
