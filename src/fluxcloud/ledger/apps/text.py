"""Shapes of text in a spec, as explicit ASCII checks: no regular expression, no property of Unicode decides a rule."""

from __future__ import annotations

from collections.abc import Callable

LOWER = frozenset("abcdefghijklmnopqrstuvwxyz")
UPPER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
DIGITS = frozenset("0123456789")
_NAME = LOWER | DIGITS | {"-"}
_VARIABLE = LOWER | UPPER | DIGITS | {"_"}
_HEX = DIGITS | frozenset("abcdef")


def _has_only(text: str, allowed: frozenset[str]) -> bool:
    return all(char in allowed for char in text)


def is_app_name(text: str) -> bool:
    return 2 <= len(text) <= 40 and text[0] in LOWER and text[-1] != "-" and "--" not in text and _has_only(text, _NAME)


def is_name(text: str) -> bool:
    """Of a group, component or port: it becomes a part of host names."""
    return 1 <= len(text) <= 20 and text[0] in LOWER and _has_only(text, _NAME)


def is_variable(text: str) -> bool:
    """As programs read them: `LOG_LEVEL`, and also `discovery.type`."""
    return 1 <= len(text) <= 128 and text[0] in _VARIABLE - DIGITS and _has_only(text, _VARIABLE | {".", "-"})


def is_label(text: str) -> bool:
    return 1 <= len(text) <= 64 and text[0] in LOWER and _has_only(text, _NAME | {"_", ".", "/"})


def is_printable(text: str) -> bool:
    """No control character; anything else that people write is allowed."""
    return all(char >= " " and char != "\x7f" for char in text)


def is_ascii_word(text: str) -> bool:
    """Printable ASCII without blanks."""
    return all("!" <= char <= "~" for char in text)


def is_without_nul(text: str) -> bool:
    return "\0" not in text


def is_absolute_path(text: str) -> bool:
    """`/etc/app.yml`: ASCII, absolute, and no part that is empty, `.` or `..`."""
    return (
        text.startswith("/")
        and is_ascii_word(text)
        and all(part not in ("", ".", "..") for part in text[1:].split("/"))
    )


def is_url_path(text: str) -> bool:
    return text == "" or (text.startswith("/") and is_ascii_word(text))


def is_place_code(text: str) -> bool:
    """`EU`, `DE`, `EU-DE`, `DE-BY`, `EU-DE-BY`."""
    head, *rest = text.split("-", 1)
    return len(head) == 2 and _has_only(head, UPPER) and all(tail and is_ascii_word(tail) for tail in rest)


def is_digest(text: str) -> bool:
    return text.startswith("sha256:") and len(text) == 71 and _has_only(text[7:], _HEX)


Shape = Callable[[str], bool]
SHAPES: dict[str, tuple[Shape, str, str]] = {
    "app-name": (
        is_app_name,
        r"^(?!.*--)[a-z][a-z0-9-]{0,38}[a-z0-9]$",
        "a-z, 0-9 and single '-', begins with a-z, 2..40 long",
    ),
    "name": (is_name, r"^[a-z][a-z0-9-]{0,19}$", "a-z, 0-9 and '-', begins with a-z, 1..20 long"),
    "variable": (
        is_variable,
        r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$",
        "A-Z, a-z, 0-9, '_', '.' and '-', begins with a letter or '_'",
    ),
    "label": (is_label, r"^[a-z][a-z0-9_./-]{0,63}$", "a-z, 0-9, '_', '.', '/', '-', begins with a-z, 1..64 long"),
    "printable": (is_printable, r"^[^\x00-\x1f\x7f]*$", "text without control characters"),
    "word": (is_ascii_word, r"^[!-~]*$", "printable ASCII without blanks"),
    "text": (is_without_nul, r"^[^\x00]*$", "text without NUL"),
    "path": (is_absolute_path, r"^(/(?!\.{1,2}(/|$))[!-.0-~]+)+$", "an absolute path in ASCII without '.' or '..'"),
    "url-path": (is_url_path, r"^(/[!-~]*)?$", "a path that begins with '/', in ASCII"),
    "place": (is_place_code, r"^[A-Z]{2}(-[!-~]+)?$", "a continent, country or region: EU, DE, EU-DE, DE-BY"),
}
"""Name of a shape: its check (which decides), a regular expression of the same meaning for schemas, and words."""
