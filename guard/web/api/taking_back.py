"""The door of a revert URL."""

from guard.web.api.answers import Plan, Report
from guard.web.api.door import FORM, HTML, JSON, TEXT, Answer, Door
from guard.web.api.parts import GOES_ON, REVERT_URL, TOKEN
from guard.web.revert import RevertModel

TAKING_BACK: list[Door] = [
    Door(
        methods=["GET"],
        path="/revert/{token}",
        name="show",
        tag="Taking back",
        summary="The plan of a revert",
        description=(
            "What the run did, record by record, judged by what is there at this moment. Changes nothing. A browser "
            "gets a page, whose forms have members of their own besides."
        ),
        path_parameters=[TOKEN],
        takes=["PlanOffset", "PlanLimit"],
        query=RevertModel,
        answers={
            200: Answer("A page of the plan.", {JSON: Plan, HTML: TEXT}),
            303: Answer(
                "Only for a browser: the run is being taken back, and another page shows how far it is.",
                {},
                ["Location"],
            ),
        },
        codes=REVERT_URL,
        security=(),
        is_page=True,
    ),
    Door(
        methods=["POST"],
        path="/revert/{token}",
        name="carry_out",
        tag="Taking back",
        summary="Take a run back",
        description="No body is needed; one may narrow it. It may be repeated: what went back already counts as there.",
        path_parameters=[TOKEN],
        takes=["Prefer"],
        query=RevertModel,
        body={JSON: RevertModel, FORM: RevertModel},
        examples={JSON: {"on_conflict": "skip"}},
        body_required=False,
        answers={
            200: Answer("What it came to; or, with `dry_run`, what it would.", {JSON: Report, HTML: TEXT}),
            202: Answer(GOES_ON, {JSON: Report}, ["Location"]),
            303: Answer("Only for a browser: another page shows what it came to.", {}, ["Location"]),
        },
        codes=[
            *REVERT_URL,
            *("busy", "conflicts", "run_closed", "too_large", "invalid_body", "forbidden_callback", "in_doubt"),
        ],
        security=(),
        is_page=True,
    ),
]
