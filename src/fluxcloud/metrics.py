"""Figures of a running program in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` begins with `fluxcloud_` and carries its unit; one that only grows ends in `_total`."""

    name: str
    text: str  # for people
    samples: tuple[tuple[Labels, int], ...]

    @property
    def kind(self) -> Literal["counter", "gauge"]:
        return "counter" if self.name.endswith("_total") else "gauge"


def make_metrics(prefix: str, rows: Iterable[tuple[str, str, int]]) -> list[Metric]:
    """Each of one sample, from name, text and value."""
    return [Metric(f"{prefix}_{name}", text, (({}, value),)) for name, text, value in rows]


def render_metrics(metrics: Iterable[Metric], labels: Labels) -> str:
    """The page. `labels` stand on every sample."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.text}", f"# TYPE {metric.name} {metric.kind}"]
        lines += [f"{metric.name}{_render_labels({**labels, **own})} {value}" for own, value in metric.samples]
    return "".join(f"{line}\n" for line in lines)


def _render_labels(labels: Labels) -> str:
    pairs = ",".join(f'{key}="{_escape(word)}"' for key, word in sorted(labels.items()))
    return f"{{{pairs}}}" if pairs else ""


def _escape(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
