"""What callers send, checked by a model: the first thing that does not fit is told, without its value."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from guard.core.errors import Refused

M = TypeVar("M", bound=BaseModel)


def validated(kind: type[M], given: Mapping[str, Any]) -> M:
    """Raises Refused; its `member` names the place."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refused("invalid_request", f"{where}: {first['msg']}. Nothing was written.", member=where) from None
