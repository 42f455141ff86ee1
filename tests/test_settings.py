"""Settings that cannot be used are refused at the start, with the setting's name and without any secret."""

from pathlib import Path
from typing import Any

import pytest

from guard.settings import SettingsError, load, parse

SECRETS = {
    "GUARD_T_SECRET": "signs-revert-urls-secretly",
    "GUARD_T_KEY": "key-of-a-client-0123",
    "GUARD_T_SHORT": "k3y",
    "GUARD_T_PLACE": "https://hooks.example.test/services/k3y",
}
SECRET, KEY, SHORT, _ = ({"env": name} for name in SECRETS)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def tables(**changed: Any) -> dict[str, Any]:
    crm = {"handler": "highlevel", "credential": SECRET, **changed.pop("crm", {})}
    server = {"secret_keys": [SECRET], **changed.pop("server", {})}
    return {"server": server, "targets": {"crm": crm}, **changed}


PLACE = {"name": "team", "kind": "slack", "url": {"env": "GUARD_T_PLACE"}}
CLIENT = {"name": "make", "key": KEY, "targets": ["crm"]}

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown setting": ({"server": {"colour": "red"}}, "server.colour"),
    "a secret in the file itself": ({"server": {"secret_keys": ["k3y-in-the-file-itself"]}}, "server.secret_keys"),
    "a variable that is not set": ({"server": {"secret_keys": [{"env": "GUARD_T_NOT"}]}}, "GUARD_T_NOT"),
    "a file that is not there": ({"server": {"secret_keys": [{"file": "/nowhere"}]}}, "/nowhere"),
    "a signing key that can be guessed": ({"server": {"secret_keys": [SECRET, SHORT]}}, "16 characters"),
    "a client key that can be guessed": ({"clients": [{**CLIENT, "key": SHORT}]}, "16 characters"),
    "two clients with one key": ({"clients": [CLIENT, {**CLIENT, "name": "n8n"}]}, "same key"),
    "two clients with one name": ({"clients": [CLIENT, {**CLIENT, "key": SECRET}]}, "same name"),
    "a client of no target": ({"clients": [{**CLIENT, "targets": ["erp"]}]}, "erp"),
    "two places of one name": ({"notify": [PLACE, PLACE]}, "same name"),
    "a place for a target that is not there": ({"notify": [{**PLACE, "targets": ["erp"]}]}, "erp"),
    "a place whose address is none": ({"notify": [{**PLACE, "url": KEY}]}, "the url of team"),
    "a signed place without a key to sign": ({"notify": [{**PLACE, "kind": "webhook"}]}, "callbacks.secret"),
    "a place that is told of nothing": ({"notify": [{**PLACE, "on": []}]}, "notify.0.on"),
    "an address without a scheme": ({"server": {"public_url": "guard.example.com"}}, "public_url"),
    "an address with a query": ({"server": {"public_url": "https://guard.example.com/?a=b"}}, "public_url"),
    "a target's address without a scheme": ({"crm": {"base_url": "127.0.0.1:8090"}}, "base_url"),
}


@pytest.mark.parametrize("name", BAD)
def test_settings_that_cannot_be_used_are_refused_by_name_and_without_a_secret(name: str) -> None:
    changed, told = BAD[name]
    with pytest.raises(SettingsError) as refused:
        parse(tables(**changed), "guard.toml")
    assert told in str(refused.value)
    assert "k3y" not in str(refused.value)


def test_secrets_come_from_the_environment_or_a_file_without_blanks(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("key-of-a-client-in-a-file\n")
    client = {**CLIENT, "key": {"file": str(tmp_path / "key")}}
    settings = parse(tables(clients=[client]), "guard.toml")
    assert settings.clients[0].key.get_secret_value() == "key-of-a-client-in-a-file"
    assert settings.signing_keys == [b"signs-revert-urls-secretly"]
    assert "secretly" not in repr(settings)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"[server", "not TOML"), ("note = 'ä'".encode("latin-1"), "not UTF-8"), (None, "No such file")],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "guard.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=told):
        load(path)
