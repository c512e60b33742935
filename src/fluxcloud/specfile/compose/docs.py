"""The page about compose files, `docs/compose.md`, made of the table of keys; a test compares the two."""

from __future__ import annotations

from collections.abc import Iterable

from ..stateful import OPTIONS
from .choose import COMPONENTS_MAX
from .files import FILE_NAMES
from .group import APP_KEYS, GROUP_KEYS, OWN_KEYS
from .keys import RULES, SERVICE_PREFIX, Rule
from .mounts import FILES_MAX

_HEAD = """# Compose files

`fluxcloud init` and `fluxcloud spec convert` make a `fluxcloud.yaml` of a compose file: {names},
with the `.override` file beside it. They say what was kept, changed, dropped and ignored, and stop where something is
asked for that can't be had, naming the way out. `fluxcloud spec validate` only looks.

- All services become components of **one group**: every copy of the app has all of them, on one node, in one network.
  They reach each other by service name, as in compose; a port can belong to one of them only. At most {components}.
- A copy runs **three times** where the file does not say how often: on nodes of three operators.
- The first service with a published http port is **public**; visitors come through gateways to `<app>.<zone>`, not to
  the published number. Everything else is reached by the other services only.
- A spec is **public**. Variables that look like secrets stop the conversion until `x-fluxcloud.public_env` names them;
  files that look like keys are never taken.
- Bound files of the project become `files` of the spec (at most {files}, 24 KiB in all). Named volumes are the copy's
  **own disk**, which ends with the copy. Where several copies would each have a database of their own, the tools ask
  how that is meant (`--stateful`):
{options}
- Paths lead to files below the folder only. Variables come from the environment, then from `.env`.

`x-fluxcloud` at the top takes {app} of the app,
{group} of its group, and {own}.
In a service it takes every key that a component has in `fluxcloud.yaml`; what it says wins.
"""
_TITLES = {"supported": "becomes", "ignored": "ignored; instead", "rejected": "refused; way out"}


def render_page() -> str:
    """The whole page."""
    head = _HEAD.format(
        names=", ".join(f"`{name}`" for name in FILE_NAMES),
        components=COMPONENTS_MAX,
        files=FILES_MAX,
        options="\n".join(f"  - `{option.name}`: {option.words}" for option in OPTIONS),
        app=_list(APP_KEYS),
        group=_list(GROUP_KEYS),
        own=_list(OWN_KEYS),
    )
    top = [rule for rule in RULES.values() if not rule.path.startswith(SERVICE_PREFIX)]
    service = [rule for rule in RULES.values() if rule.path.startswith(SERVICE_PREFIX)]
    return f"{head}\n## Top level\n\n{_render_table(top)}\n## Services\n\n{_render_table(service)}"


def _render_table(rules: Iterable[Rule]) -> str:
    rows = [
        f"| `{rule.path.removeprefix(SERVICE_PREFIX)}` | {_render_class(rule)} | {rule.words} |\n" for rule in rules
    ]
    return f"| key | class | words |\n|---|---|---|\n{''.join(rows)}"


def _render_class(rule: Rule) -> str:
    harmless = f" (allowed: {', '.join(f'`{pattern}`' for pattern in rule.harmless)})" if rule.harmless else ""
    return f"{_TITLES[rule.kind]}{harmless}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
