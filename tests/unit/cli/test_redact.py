"""Redacting: what has to go, and what must stay so that the rest is still of use."""

from __future__ import annotations

import pytest

from fluxcloud.cli.redact import REDACTED, Redactor

SECRET = "s3cr3t-value-0815"
SEED = "9f" * 32


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: FluxCloud-Cap {SECRET}",
        f"GET /v1/logs FluxCloud-Cap {SECRET}",
        f"Cookie: id={SECRET}; a=b",
        f"https://user:{SECRET}@registry.example/v2/",
        f"DB_PASSWORD={SECRET}",
        f'{{"db-password": "{SECRET}"}}',
        f"api.token = '{SECRET}'",
        f'error="{{\\"secret\\": \\"{SECRET}\\"}}"',
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
        f"-----BEGIN EC PRIVATE KEY-----\\n{SECRET}\\n and the rest was cut",
    ],
)
def test_form_of_a_secret__goes(text: str) -> None:
    redacted = Redactor().redact(f"before {text}")
    assert SECRET not in redacted
    assert redacted.startswith("before ")
    assert REDACTED in redacted


def test_known_value__goes_wherever_it_stands() -> None:
    redactor = Redactor([SEED, "hunter22", "abc"])
    assert redactor.redact(f"x{SEED}y hunter22! abc") == f"x{REDACTED}y {REDACTED}! abc"


def test_longer_value__goes_before_the_shorter_one_inside_it() -> None:
    assert Redactor(["secret", "secret-and-more"]).redact("secret-and-more") == REDACTED


def test_variable_of_an_app__its_value_goes_though_it_is_short() -> None:
    assert Redactor(names=["MODE"]).redact("MODE=dev LEVEL=dev") == f"MODE={REDACTED} LEVEL=dev"


@pytest.mark.parametrize(
    "line",
    [
        "2026-01-31T12:00:00.000Z info fluxcloud.node.agent: running -> stopped app=app1qq generation=7",
        'digest="sha256:aaaa" port=8080',
        "http://127.0.0.1:8080/path?x=1",
        "monkey=banana keyboard=us",
    ],
)
def test_ordinary_lines__stay(line: str) -> None:
    assert Redactor(["other-secret"]).redact(line) == line
