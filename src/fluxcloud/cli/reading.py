"""Reading the files of a local network: one that is missing or damaged is named, with what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import ConfigError, FluxCloudError

T = TypeVar("T")
REMEDY = "put it back from a copy, or begin anew with `fluxcloud up --reset`, which loses what ran here"


def read_or_explain(path: Path, read: Callable[[Path], T]) -> T:
    """What `read` makes of the file. Raises ConfigError naming it where it is not there or makes no sense."""
    try:
        return read(path)
    except FileNotFoundError:
        raise ConfigError(str(path), f"is missing; {REMEDY}") from None
    except ConfigError as error:
        raise ConfigError(str(path), f"{str(error).removeprefix(f'{path}: ')}; {REMEDY}") from error
    except (FluxCloudError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(str(path), f"can't be read ({error}); {REMEDY}") from error
