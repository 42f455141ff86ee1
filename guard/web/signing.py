"""GET and POST /sign-in, POST /sign-out: who may see the pages of all runs."""

from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from guard.core.errors import GuardError, Refused
from guard.settings import ClientSettings
from guard.web.pages import page, problem_page, see
from guard.web.revert import body_of
from guard.web.sessions import Sessions, TooMany

_RETRY_AFTER_S = "5"


async def show(request: Request) -> Response:
    return page(request, "sign_in.html", {"then": _local(request.query_params.get("then", "")), "wrong": ""})


async def sign_in(request: Request) -> Response:
    sessions: Sessions = request.app.state.sessions
    try:
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Refused("forbidden", "This form was sent by another site. Open the page itself to sign in.")
        form = await body_of(request)
    except GuardError as error:
        return problem_page(request, error)
    then = _local(str(form.get("then", "")))
    try:
        client = await sessions.sign_in(str(form.get("key", "")).strip())
    except TooMany:
        wrong = "Too many wrong keys are being tried just now. Try again in a few seconds."
        answer = page(request, "sign_in.html", {"then": then, "wrong": wrong}, 429)
        answer.headers["retry-after"] = _RETRY_AFTER_S
        return answer
    if client is None:
        wrong = "No client of the settings has this key. Copy it whole, without spaces before or after it."
        return page(request, "sign_in.html", {"then": then, "wrong": wrong}, 401)
    answer = see(request.app.state.guard, then)
    sessions.begin(answer, client)
    return answer


async def sign_out(request: Request) -> Response:
    sessions: Sessions = request.app.state.sessions
    try:
        sessions.refuse_foreign_form(request, str((await body_of(request)).get("form_token", "")))
    except GuardError as error:
        return problem_page(request, error)
    answer = see(request.app.state.guard, "/sign-in")
    sessions.end(answer)
    return answer


def signed_in(request: Request) -> ClientSettings | None:
    sessions: Sessions = request.app.state.sessions
    return sessions.client(request)


def ask(request: Request) -> Response:
    """Send somebody who is not signed in to where that is done, and back afterwards."""
    query = f"?{request.url.query}" if request.url.query else ""
    return see(request.app.state.guard, f"/sign-in?{urlencode({'then': request.url.path + query})}")


def _local(path: str) -> str:
    """A page of ours to go on to; the list of runs for anything else."""
    parts = urlsplit(path)
    fits = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if fits and not parts.netloc and (path == "/" or path.startswith(("/?", "/runs/"))) else "/"
