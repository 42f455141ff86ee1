"""No system is registered whose handler does not join the conformance suite."""

from importlib import import_module
from pathlib import Path

from handlers import HANDLERS
from tests.handlers.conformance import HandlerConformance


def test_every_registered_handler_joins_the_conformance_suite() -> None:
    for path in Path(__file__).parent.glob("test_*_conformance.py"):
        import_module(f"tests.handlers.{path.stem}")
    joined = {cls.handler.name for cls in HandlerConformance.__subclasses__()}
    assert set(HANDLERS) <= joined
