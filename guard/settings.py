"""Guard's settings: one TOML file, secrets only by reference to the environment or to a file.

docs/settings.md describes every setting; a test keeps the two together.
"""

import os
import re
import tomllib
from base64 import b64decode
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

URL_WITH_QUERY = r"https?://[^\s/?#@]+[^\s#]*"
URL = r"^https?://[^\s/?#]+[^\s?#]*$"
SECRET_CHARS_MIN = 16
"""Shorter ones could be found by trying."""
NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"


class SettingsError(Exception):
    """The settings cannot be used; the message names the file, the setting and what is wrong with it."""


def _secret(value: Any) -> Any:
    """{env = "NAME"} or {file = "path"}; a secret that stands in the file itself is refused."""
    match value:
        case {"env": str(name), **rest} if not rest:
            if not os.environ.get(name):
                raise ValueError(f"the environment variable {name} is not set")
            return os.environ[name]
        case {"file": str(path), **rest} if not rest:
            try:
                return Path(path).read_text().strip()
            except OSError as error:
                raise ValueError(f"the file {path} cannot be read ({error.strerror})") from None
        case SecretStr():
            return value
        case _:
            raise ValueError('name where the secret is: { env = "NAME" } or { file = "path" }')


Secret = Annotated[SecretStr, BeforeValidator(_secret)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Table):
    public_url: str = Field(default="http://127.0.0.1:8080", pattern=URL, description="What revert URLs begin with.")
    secret_keys: list[Secret] = Field(
        min_length=1, description="Keys that sign revert URLs: the first signs, all are accepted."
    )
    revert_days: int = Field(default=30, ge=1, le=3650, description="Days for which a revert URL works.")
    lease_s: int = Field(
        default=60, ge=1, le=3600, description="Seconds after which a copy of Guard that shows no life is taken over."
    )
    metrics_key: Secret | None = Field(
        default=None,
        description="Key with which GET /metrics is read, as Authorization: Bearer; at least 16 characters.",
    )
    body_max_mib: int = Field(default=256, ge=1, le=4096, description="Largest body of a bulk operation, in MiB.")

    @model_validator(mode="after")
    def _cannot_be_guessed(self) -> "Server":
        if any(len(key.get_secret_value()) < SECRET_CHARS_MIN for key in self.secret_keys):
            raise ValueError(f"one of secret_keys is shorter than {SECRET_CHARS_MIN} characters")
        if self.metrics_key and len(self.metrics_key.get_secret_value()) < SECRET_CHARS_MIN:
            raise ValueError(f"metrics_key is shorter than {SECRET_CHARS_MIN} characters")
        return self


class StoreSettings(_Table):
    url: str = Field(default="file:guard-data", description="file:folder or s3://bucket/prefix.")
    endpoint_url: str | None = Field(default=None, description="Address of an S3 that is not AWS.")
    region: str | None = Field(default=None, description="Region of the bucket.")


class QueueSettings(_Table):
    url: str = Field(default="memory:", description="memory: or the URL of an SQS FIFO queue.")
    endpoint_url: str | None = Field(default=None, description="Where to send requests, if not to the URL's host.")
    region: str | None = Field(default=None, description="Region of the queue.")


class ClientSettings(_Table):
    name: str = Field(pattern=NAME, description="Name of the caller, as it shows in the history.")
    key: Secret = Field(description="What it sends as Authorization: Bearer or as Guard-Key; at least 16 characters.")
    targets: list[str] = Field(description="The targets it may use.")

    @model_validator(mode="after")
    def _long_enough(self) -> "ClientSettings":
        if len(self.key.get_secret_value()) < SECRET_CHARS_MIN:
            raise ValueError(f"the key of client {self.name} is shorter than {SECRET_CHARS_MIN} characters")
        return self


class CallbackSettings(_Table):
    secret: Secret | None = Field(default=None, description="Signs callbacks (Standard Webhooks): whsec_ and base64.")
    allow: list[str] = Field(
        default_factory=list, description="Hosts and networks that may be called besides public addresses by https."
    )

    @property
    def signing_secret(self) -> str | None:
        return self.secret.get_secret_value() if self.secret else None

    @model_validator(mode="after")
    def _is_base64(self) -> "CallbackSettings":
        try:
            b64decode((self.signing_secret or "").removeprefix("whsec_"), validate=True)
        except ValueError:
            raise ValueError("callbacks.secret must be base64, with or without whsec_ in front") from None
        return self


End = Literal["applied", "partial", "failed", "stopped", "in_doubt", "reverted", "partly_reverted"]
NEEDS_SOMEBODY: tuple[End, ...] = ("partial", "failed", "stopped", "in_doubt", "reverted", "partly_reverted")


class NotifySettings(_Table):
    name: str = Field(pattern=NAME, description="Name of the place, by which scenarios and the journal call it.")
    kind: Literal["slack", "webhook"] = Field(description="slack: words for a chat; webhook: signed JSON.")
    url: Secret = Field(description="Where it is sent. Whoever has it may write there.")
    targets: list[str] = Field(default_factory=list, description="Only of these targets; none named: of all.")
    on: list[End] = Field(default=list(NEEDS_SOMEBODY), min_length=1, description="The ends that are told.")
    always: bool = Field(default=True, description="False: told only of scenarios that name it.")

    @model_validator(mode="after")
    def _is_address(self) -> "NotifySettings":
        if not re.fullmatch(URL_WITH_QUERY, self.url.get_secret_value()):
            raise ValueError(f"the url of {self.name} is not an address like https://hooks.example.com/…")
        return self

    def fits(self, targets: AbstractSet[str], ends: AbstractSet[str]) -> bool:
        """Is one of the ends, of something that touched these targets, told here?"""
        return not ends.isdisjoint(self.on) and (not self.targets or not targets.isdisjoint(self.targets))


class ScenarioSettings(_Table):
    folder: str | None = Field(default=None, description="Folder of scenario files, one hook each.")


class LimitSettings(_Table):
    requests: int = Field(ge=1, description="Requests within per_s seconds.")
    per_s: float = Field(gt=0, description="Length of the window, in seconds.")
    concurrency: int = Field(ge=1, le=512, description="Requests at once.")


class Policy(_Table):
    accept_irreversible: bool = Field(
        default=False, description="Let writes through that cannot be taken back whole (deletes of a vendor's API)."
    )
    records_max: int = Field(default=1_000_000, ge=1, description="Records that one operation may touch.")


class TargetSettings(_Table):
    handler: str = Field(
        description="The kind of system: bamboohr, highlevel, hubspot, keap, postgresql, salesforce, tryton, rest."
    )
    credential: Secret = Field(description="Guard's own access: a token or its secret; a database's URL.")
    base_url: str | None = Field(
        default=None, pattern=URL, description="Another address than the vendor's: a sandbox, a proxy."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="What the handler asks for: location_id, …")
    limits: LimitSettings | None = Field(default=None, description="Another pace than the vendor's documented one.")
    timeout_s: float = Field(default=30.0, gt=0, le=600, description="Longest wait for one answer of the target.")
    policy: Policy = Field(default_factory=Policy, description="What this target's operations may do.")


class Settings(_Table):
    server: Server
    store: StoreSettings = Field(default_factory=StoreSettings)
    queue: QueueSettings = Field(default_factory=QueueSettings)
    callbacks: CallbackSettings = Field(default_factory=CallbackSettings)
    notify: list[NotifySettings] = Field(default_factory=list)
    scenarios: ScenarioSettings = Field(default_factory=ScenarioSettings)
    clients: list[ClientSettings] = Field(default_factory=list)
    targets: dict[Annotated[str, Field(pattern=NAME)], TargetSettings]

    @model_validator(mode="after")
    def _names_fit(self) -> "Settings":
        for client in self.clients:
            if unknown := sorted(set(client.targets) - set(self.targets)):
                raise ValueError(f"client {client.name} names targets that do not exist: {', '.join(unknown)}")
        names = [client.name for client in self.clients]
        if len(set(names)) != len(names):
            raise ValueError("two clients have the same name")
        if len({client.key.get_secret_value() for client in self.clients}) != len(names):
            raise ValueError("two clients have the same key, so it does not tell who calls")
        return self

    @model_validator(mode="after")
    def _places_fit(self) -> "Settings":
        for place in self.notify:
            if unknown := sorted(set(place.targets) - set(self.targets)):
                raise ValueError(f"notify {place.name} names targets that do not exist: {', '.join(unknown)}")
            if place.kind == "webhook" and not self.callbacks.secret:
                raise ValueError(f"notify {place.name} is a webhook, and callbacks.secret, which signs, is not set")
        if len({place.name for place in self.notify}) != len(self.notify):
            raise ValueError("two places to notify have the same name")
        return self

    @property
    def signing_keys(self) -> list[bytes]:
        return [key.get_secret_value().encode() for key in self.server.secret_keys]


def load(path: Path) -> Settings:
    """Raises SettingsError."""
    try:
        return parse(tomllib.loads(path.read_text()), str(path))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: this is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: this is not TOML: {error}") from error


def parse(tables: dict[str, Any], origin: str) -> Settings:
    """Raises SettingsError; the message never holds a value, for it may be a secret that went astray."""
    try:
        return Settings.model_validate(tables)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise SettingsError(f"{origin}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
