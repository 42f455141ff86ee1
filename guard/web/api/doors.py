"""All doors for programs, in the order in which the page shows them."""

from guard.web.api.around import AROUND
from guard.web.api.door import Door
from guard.web.api.history import HISTORY
from guard.web.api.taking_back import TAKING_BACK
from guard.web.api.writing import WRITING

DOORS: list[Door] = [*WRITING, *TAKING_BACK, *HISTORY, *AROUND]
