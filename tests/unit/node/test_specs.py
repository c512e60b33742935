"""Specs are read once, checked against the assigned hash, and kept; so is the assignment."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fluxcloud.codec import encode
from fluxcloud.errors import Temporary
from fluxcloud.ids import AppId
from fluxcloud.ledger.apps.model import Assign, Image, Revision
from fluxcloud.ledger.apps.spec import Group, Spec
from fluxcloud.node.kept import Kept, load_kept, save_kept
from fluxcloud.node.runtime.base import CopyKey
from fluxcloud.node.specs import SpecBook

from .builders import APP_TEXT, DIGEST, make_component, make_entry

PUBLIC = encode(Spec("shop", (Group("web", (make_component(),)),)))
REVISION = Revision(PUBLIC, b"", (Image("web", "app", DIGEST, 77, ("amd64",)),), hashlib.sha256(PUBLIC).digest())
ENTRY = make_entry(3, spec_hash=REVISION.spec_hash)


class Ledger:
    def __init__(self, revision: Revision | None) -> None:
        self.revision = revision
        self.reads = 0

    async def read(self, app: AppId, revision: int) -> Revision | None:
        self.reads += 1
        if self.reads == 1:
            raise Temporary("the chain node is away")
        return self.revision


async def test_revision__is_learnt_once_and_kept_on_disk(tmp_path: Path) -> None:
    ledger = Ledger(REVISION)
    book = SpecBook(tmp_path, ledger.read)
    assert book.get(ENTRY) is None
    assert not await book.learn((ENTRY,))
    assert await book.learn((ENTRY,))
    copy = book.get(ENTRY)
    assert copy is not None
    assert (copy.key, copy.app_name, copy.group.name) == (CopyKey(APP_TEXT, 3), "shop", "web")
    assert copy.images[0].size == 77
    assert not await book.learn((ENTRY,))
    assert ledger.reads == 2
    assert SpecBook(tmp_path, ledger.read).get(ENTRY) == copy
    book.forget(())
    assert SpecBook(tmp_path, ledger.read).get(ENTRY) is None


async def test_spec_of_another_hash_group_or_without_images__is_not_taken(tmp_path: Path) -> None:
    bare = Revision(PUBLIC, b"", (), REVISION.spec_hash)
    for entry, revision in (
        (make_entry(spec_hash=b"\x00" * 32), REVISION),
        (make_entry(spec_hash=REVISION.spec_hash, group="db"), REVISION),
        (ENTRY, bare),
        (ENTRY, None),
    ):
        ledger = Ledger(revision)
        ledger.reads = 1
        assert not await SpecBook(tmp_path / "none", ledger.read).learn((entry,))
        assert ledger.reads == 2


async def test_damaged_file__counts_as_none(tmp_path: Path) -> None:
    ledger = Ledger(REVISION)
    ledger.reads = 1
    book = SpecBook(tmp_path, ledger.read)
    await book.learn((ENTRY,))
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"\x00")
    assert SpecBook(tmp_path, ledger.read).get(ENTRY) is None


def test_assignment__survives_a_restart_and_damage_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    assert load_kept(path) == Kept()
    kept = Kept(7, 9000, Assign((ENTRY,)), runs_as=((APP_TEXT, 5, 3),))
    save_kept(path, kept)
    assert load_kept(path) == kept
    assert kept.list_runs_as() == {CopyKey(APP_TEXT, 5): CopyKey(APP_TEXT, 3)}
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]
    path.write_bytes(path.read_bytes()[:-1])
    assert load_kept(path) == Kept()
