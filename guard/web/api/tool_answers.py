"""The shapes of what tools are told when they are set up, and probes; as in answers.py."""

from typing import Annotated, Literal

from typing_extensions import TypedDict

from guard.web.api.answers import Moment, about, closed


@closed
class TargetItem(TypedDict):
    """A target that the key opens."""

    id: Annotated[str, about("Its name in the settings.")]
    handler: str
    resources: Annotated[list[str], about("Empty: the target itself tells, such as a database.")]
    actions: list[str]


@closed
class Targets(TypedDict):
    targets: list[TargetItem]


@closed
class Mistake(TypedDict):
    file: str
    line: int
    member: str | None
    message: str


@closed
class ScenarioItem(TypedDict):
    """A scenario file."""

    name: str
    state: Annotated[
        Literal["serving", "serving_older", "broken"],
        about("serving_older: it has mistakes, and the last version without any is in service."),
    ]
    url: Annotated[str, about("Where to send payloads.")]
    about: Annotated[str | None, about("null, as the following ones, where the file cannot be used.")]
    target: str | None
    resource: str | None
    action: str | None
    signed: Annotated[bool | None, about("true: calls are signed, and a key does not help.")]
    mistakes: list[Mistake]


@closed
class Scenarios(TypedDict):
    scenarios: list[ScenarioItem]


@closed
class Subscription(TypedDict):
    """Somebody who hears of runs that end."""

    id: str
    created_at: Moment
    host: Annotated[str | None, about("Of the address; the rest of it may hold a secret.")]
    target: Annotated[str | None, about("null: whichever; so with scenario.")]
    scenario: str | None
    statuses: Annotated[list[str], about("Empty: all.")]


@closed
class Subscriptions(TypedDict):
    subscriptions: list[Subscription]


@closed
class Ended(TypedDict):
    id: str
    ended: Literal[True]


@closed
class Health(TypedDict):
    status: Literal["ok"]


@closed
class Ready(TypedDict):
    status: Literal["ready"]
