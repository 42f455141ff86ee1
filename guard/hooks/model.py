"""A scenario file of a hook: how a webhook's payload becomes an operation. docs/scenario-files.md shows it to users."""

from base64 import b64decode
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from guard.core.limits import RECORDS_MAX
from guard.core.model import RECORD_MEMBERS
from guard.hooks.expressions import BadExpression, Expression
from guard.settings import NAME, Secret

SECRET_BYTES_MIN = 16
"""Shorter ones could be found by trying."""

Shape = Mapping[str, Any]
"""Member -> the Expression that finds its value, or a Shape where the member is an object."""


def _expression(given: Any) -> Expression:
    if not isinstance(given, str):
        raise BadExpression("it must be a JMESPath expression, in quotes")
    return Expression(given)


Looked = Annotated[Expression, BeforeValidator(_expression)]


class Hook(BaseModel):
    """One scenario file. Its name is the file's name."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    about: str = Field(default="", max_length=500, description="What it is for, in your words.")
    target: str = Field(pattern=NAME, description="The target in guard.toml that it writes to.")
    resource: str = Field(min_length=1, max_length=256, description="The kind of record: contacts, opportunities, …")
    action: str = Field(min_length=1, max_length=64, description="create, update, upsert, delete, tags.add, …")
    client: str | None = Field(default=None, pattern=NAME, description="The client in guard.toml that calls it.")
    secrets: list[Secret] = Field(default_factory=list, description="Secrets that sign its calls (Standard Webhooks).")
    records: Looked = Field(description="Where the payload has the list of records.")
    record: dict[str, Any] = Field(default_factory=dict, description="What makes a record, looked up in each item.")
    shared: dict[str, Any] = Field(default_factory=dict, description="What is the same for all, from the payload.")
    run_key: Looked | None = Field(default=None, description="Where the payload names the scenario's execution.")
    records_max: int = Field(default=10_000, ge=1, le=RECORDS_MAX, description="Records that one call may have.")
    accept_irreversible: bool = Field(default=False, description="Let through what cannot be taken back whole.")
    scenario: str = Field(default="", max_length=200, description="A name for the history; the file's without it.")
    note: str = Field(default="", max_length=2000, description="A note for the history.")
    tell: list[str] = Field(default_factory=list, description="Who is told of the end, besides those always told.")
    sample: str | dict[str, Any] | None = Field(
        default=None, description="A payload to try: a table, or a file's name."
    )

    @field_validator("record", "shared", mode="before")
    @classmethod
    def _compiled(cls, given: Any) -> dict[str, Any]:
        return _shape(given, ())

    @field_validator("secrets")
    @classmethod
    def _usable(cls, secrets: list[Secret]) -> list[Secret]:
        for secret in secrets:
            if len(signing_key(secret.get_secret_value())) < SECRET_BYTES_MIN:
                raise ValueError(
                    f"a secret must have {SECRET_BYTES_MIN} bytes or more, in base64, whsec_ in front or not"
                )
        return secrets

    @model_validator(mode="after")
    def _fits_together(self) -> "Hook":
        if self.shared and not self.record:
            raise _at(("shared",), "it needs a [record]: without one the items are the records, whole")
        if twice := next(_both(self.record, self.shared, ()), None):
            raise _at(("shared", *twice), "[record] has this one too; leave one of the two away")
        allowed = RECORD_MEMBERS.get(self.action)
        for part in ("record", "shared"):
            for member in getattr(self, part):
                if allowed and member not in allowed:
                    raise _at((part, member), f"a record to {self.action} has {' and '.join(sorted(allowed))} only")
        return self

    @property
    def signing_keys(self) -> list[bytes]:
        return [signing_key(secret.get_secret_value()) for secret in self.secrets]


def signing_key(secret: str) -> bytes:
    """Empty where the secret is none: Standard Webhooks' are base64."""
    try:
        return b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return b""


def _shape(given: Any, path: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _at(path, "it must be a table: a member and where it is found")
    return {name: _part(each, (*path, name)) for name, each in given.items()}


def _part(given: Any, path: tuple[str, ...]) -> Any:
    if isinstance(given, dict):
        return _shape(given, path)
    try:
        return _expression(given)
    except BadExpression as error:
        raise _at(path, str(error)) from None


def _both(one: Shape, two: Shape, path: tuple[str, ...]) -> Any:
    """Members that stand in both, as paths."""
    for name in one.keys() & two.keys():
        if isinstance(one[name], dict) and isinstance(two[name], dict):
            yield from _both(one[name], two[name], (*path, name))
        else:
            yield (*path, name)


def _at(path: tuple[str, ...], said: str) -> PydanticCustomError:
    """An error that knows its place below the member that is validated (for a check of the whole: from the top)."""
    return PydanticCustomError("scenario_file", "{said}", {"said": said, "path": list(path)})
