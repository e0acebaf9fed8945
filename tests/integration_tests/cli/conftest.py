"""The fixtures of the commands' unit tests."""

from tests.unit_tests.cli.conftest import embedder, router, run, tables  # noqa: F401
