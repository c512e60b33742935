"""Home: the directory of a chain node: `validator.key`, hash chains below `tips/`, and the chain itself in `data/`."""

from __future__ import annotations

import os
from pathlib import Path

from ..crypto import PrivateKey
from ..errors import ConfigError
from ..ledger.validators.model import Validator
from ..sdk.wallet import read_key, write_key
from .tips import make_chain, write_chain

KEY_FILE = "validator.key"
TIPS_DIRECTORY = "tips"
DATA_DIRECTORY = "data"


def init_home(home: Path, tip_links: int, *, power: int = 1) -> Validator:
    """Make a validator's home; what a genesis file says of it. Raises ConfigError where a key is there already."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = PrivateKey.generate()
    chain = make_chain(tip_links)
    write_chain(home / TIPS_DIRECTORY, chain)
    write_key(home / KEY_FILE, key)
    return Validator(key.public, power, chain.tip, tip_links)


def open_home(home: Path) -> PrivateKey:
    """The validator's key, the directory checked. Raises ConfigError naming what is wrong."""
    if not home.is_dir():
        raise ConfigError("home", f"{home} is not a directory; make one with `fluxcloud up`, or name the right one")
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError("home", f"{home} can't be written to by this user")
    (home / DATA_DIRECTORY).mkdir(mode=0o700, exist_ok=True)
    return read_key(home / KEY_FILE)
