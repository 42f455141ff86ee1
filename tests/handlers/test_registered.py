"""No system is registered whose handler, or target, does not join the conformance suite."""

from importlib import import_module
from pathlib import Path

from guard.assembly import DATABASES
from handlers import HANDLERS
from tests.handlers.conformance import HandlerConformance
from tests.handlers.database import DatabaseConformance


def test_every_registered_handler_joins_the_conformance_suite() -> None:
    for path in Path(__file__).parent.glob("test_*_conformance.py"):
        import_module(f"tests.handlers.{path.stem}")
    assert set(HANDLERS) <= {cls.system() for cls in HandlerConformance.__subclasses__()}
    assert set(DATABASES) <= {cls.system() for cls in DatabaseConformance.__subclasses__()}
