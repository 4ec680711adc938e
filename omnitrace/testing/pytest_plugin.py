"""The conformance kit in pytest: an option, and two fixtures.

Installed with Omnitrace and loaded at every start of pytest, so nothing heavy is imported before a
test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from omnitrace.tracer import Tracer

_OPTION = "omnitrace_signals"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the signals under test."""
    parser.addini(_OPTION, "signals that tests with the fixture omnitrace_signal run for", "args")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``omnitrace_signal`` once for each of the named signals."""
    if "omnitrace_signal" in metafunc.fixturenames:
        metafunc.parametrize("omnitrace_signal", metafunc.config.getini(_OPTION))


@pytest.fixture(scope="session")
def omnitrace_reference() -> Tracer:
    """Return a tracer of the reference model in the package, loaded once."""
    from omnitrace.testing.harness import reference

    return reference()
