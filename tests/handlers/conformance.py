"""What every handler promises, in three parts, with its own sandbox behind it.

A handler joins by a subclass that has the data of `Joining`; tests/handlers/test_example_crm.py does it in 25 lines.
"""

from tests.handlers.calling import Calling
from tests.handlers.taking_back import TakingBack
from tests.handlers.totality import Total


class HandlerConformance(Calling, Total, TakingBack):
    """Say what the class is; understand anything; take everything back."""
