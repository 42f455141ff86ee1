"""The doors of the history."""

from guard.web.api.answers import Changes, Event, Run, Runs, WholeRun
from guard.web.api.door import EVENTS, JSON, Answer, Door
from guard.web.api.parts import ONE_RUN, RUN, STORE, TARGET

HISTORY: list[Door] = [
    Door(
        methods=["GET"],
        path="/v1/runs",
        name="runs",
        tag="History",
        summary="Runs, newest first",
        description="Of the targets that the key opens.",
        takes=["RunsTarget", "RunKey", "Since", "Until", "Limit", "RunsAfter"],
        answers={200: Answer("A page of them.", {JSON: Runs})},
        codes=["invalid_request", *STORE],
    ),
    Door(
        methods=["GET"],
        path="/v1/runs/{run}",
        name="run",
        tag="History",
        summary="One run",
        path_parameters=[RUN],
        answers={200: Answer("With its operations one by one.", {JSON: WholeRun})},
        codes=ONE_RUN,
    ),
    Door(
        methods=["GET"],
        path="/v1/runs/{run}/changes",
        name="changes",
        tag="History",
        summary="A run, record by record",
        path_parameters=[RUN],
        takes=["Limit", "RecordsAfter", "Now"],
        answers={200: Answer("A page of them.", {JSON: Changes})},
        codes=[*ONE_RUN, *TARGET, "invalid_request"],
    ),
    Door(
        methods=["GET"],
        path="/v1/runs/{run}/events",
        name="events",
        tag="History",
        summary="A run's progress, as server-sent events",
        description="`progress` when the numbers have changed, `ended` with the last ones. The data: a run's object.",
        path_parameters=[RUN],
        answers={200: Answer("Until the run has ended.", {EVENTS: Event})},
        codes=ONE_RUN,
    ),
    Door(
        methods=["POST"],
        path="/v1/runs/{run}/stop",
        name="stop_run",
        tag="History",
        summary="Send nothing more of a run",
        description="What was sent is accounted for first. It is not a revert: what was written stays.",
        path_parameters=[RUN],
        takes=["Prefer"],
        answers={
            200: Answer("It is stopped.", {JSON: Run}),
            202: Answer("Nothing more begins; what is under way has not ended yet.", {JSON: Run}),
        },
        codes=[*ONE_RUN, *TARGET, "in_doubt"],
    ),
]
