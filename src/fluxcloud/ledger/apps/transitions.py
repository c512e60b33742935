"""Apps: registering, revising, scaling, moving, handing over and deleting a deployer's application.

Each `process_*` applies one message, or raises Rejected and changes nothing. What a change means for copies is not
decided here: the groups concerned are *touched*, and the scheduler settles them at the end of the block.
Times in ticks (ms). Source: APPS.md 1, 2, 4; RECORDS.md 1, 2; tests/vectors/apps/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from msgspec.structs import replace

from ...errors import Rejected
from ...ids import AppId, compute_app_id
from ..accounts.transitions import validate_address
from ..module import Context
from ..params import Params
from ..state import State
from .bounds import validate_spec
from .errors import (
    AppIsDeleted,
    GroupsDiffer,
    NameKept,
    NameTaken,
    NotCanonicalSpec,
    NotDeleted,
    NotOwner,
    OutOfBounds,
    SealedTooLarge,
    TooManyEvictions,
    UnknownCopy,
    UnknownGroup,
)
from .messages import (
    AppDeleted,
    AppRegistered,
    AppScaled,
    AppTransferred,
    AppUndeleted,
    AppUpdated,
    DeleteApp,
    EvictInstance,
    RegisterApp,
    RevokeSessions,
    ScaleGroup,
    SessionsRevoked,
    TransferApp,
    UndeleteApp,
    UpdateApp,
)
from .model import (
    APPS,
    APPS_DELETED,
    GROUPS,
    NAMES,
    NAMES_TO_FREE,
    PLACEMENTS,
    REVISIONS,
    ROUTES,
    TOUCHED,
    App,
    AppGroup,
    Eviction,
    Image,
    NameRecord,
    Placement,
    Revision,
    Slot,
    Touched,
)
from .queries import get_app, get_copies, get_generations, get_group, get_spec
from .rules import check_images
from .spec import SPEC, Spec

SEALED_BYTES_MAX = 16 * 1024
REVISIONS_KEPT = 10
DAY_MS = 86_400_000
PURGES_PER_BLOCK = 20


def process_register_app(state: State, msg: RegisterApp, ctx: Context) -> None:
    """Make an app of a spec; its copies are queued in the same block.

    Emits: AppRegistered. Raises, first that applies: NotCanonicalSpec (apps/16), OutOfBounds (apps/5), Contradiction
        (apps/6), NotYet (apps/7), BadImages (apps/8), SealedTooLarge (apps/15), NameTaken (apps/3), NameKept (apps/4).
    """
    spec = read_revision(msg.spec, msg.sealed, msg.images)
    _check_name_free(state, spec.name, ctx)
    app_id = compute_app_id(ctx.chain_id, ctx.sender, ctx.nonce, ctx.index)
    app = App(app_id, spec.name, ctx.sender, revision=1, status="active", status_tick=ctx.tick_ms)
    state.set(APPS, app_id, app)
    state.set(NAMES, spec.name, NameRecord(app_id, ctx.sender))
    _set_revision(state, app_id, 1, msg)
    for group in spec.groups:
        state.set(GROUPS, (app_id, group.name), AppGroup(group.replicas))
    touch_app(state, app_id)
    ctx.emit(AppRegistered(app_id, spec.name, ctx.sender))


def process_update_app(state: State, msg: UpdateApp, ctx: Context) -> None:
    """Accept a new revision. Copies of groups that differ are replaced slot by slot; what was held is tried again.

    Emits: AppUpdated. Raises, first that applies: UnknownApp (apps/1), NotOwner (apps/2), AppIsDeleted (apps/9), those
        of a revision as in RegisterApp, GroupsDiffer (apps/12).
    """
    app = _get_live_app(state, msg.app, ctx)
    spec = read_revision(msg.spec, msg.sealed, msg.images)
    before = get_spec(state, app)
    names = [group.name for group in before.groups]
    if spec.name != before.name or sorted(group.name for group in spec.groups) != sorted(names):
        raise GroupsDiffer(f"spec: the name {before.name} and the groups {', '.join(names)} can't change")
    app = replace(app, revision=app.revision + 1)
    state.set(APPS, AppId(app.id), app)
    _set_revision(state, AppId(app.id), app.revision, msg)
    for group in spec.groups:
        key = (AppId(app.id), group.name)
        record = get_group(state, *key)
        slots = tuple(_forgive(slot) for slot in record.slots)
        spares = tuple(_forgive(slot) for slot in record.spares)
        state.set(GROUPS, key, replace(record, replicas=group.replicas, slots=slots, spares=spares))
    _forget_old_revision(state, app, spec)
    touch_app(state, AppId(app.id))
    ctx.emit(AppUpdated(app.id, app.revision))


def process_scale_group(state: State, msg: ScaleGroup, ctx: Context) -> None:
    """Set a group's replicas. Fewer: the highest slots leave.

    Emits: AppScaled. Raises, first that applies: UnknownApp (apps/1), NotOwner (apps/2), AppIsDeleted (apps/9),
        UnknownGroup (apps/11), OutOfBounds (apps/5).
    """
    app = _get_live_app(state, msg.app, ctx)
    names = [group.name for group in get_spec(state, app).groups]
    if msg.group not in names:
        raise UnknownGroup(f"group: the app has no group of that name; it has {', '.join(names)}")
    if not 1 <= msg.replicas <= 100:
        raise OutOfBounds(f"replicas: {msg.replicas}; allowed: 1..100")
    key = (AppId(app.id), msg.group)
    state.set(GROUPS, key, replace(get_group(state, *key), replicas=msg.replicas))
    touch_group(state, *key)
    ctx.emit(AppScaled(app.id, msg.group, msg.replicas))


def process_delete_app(state: State, msg: DeleteApp, ctx: Context) -> None:
    """Stop the copies; app, name and revisions are kept for the owner for `name_kept_ms`.

    Emits: AppDeleted. Raises, first that applies: UnknownApp (apps/1), NotOwner (apps/2), AppIsDeleted (apps/9).
    """
    app = _get_live_app(state, msg.app, ctx)
    state.set(APPS, AppId(app.id), replace(app, status="deleted", status_tick=ctx.tick_ms))
    kept = ctx.tick_ms + ctx.params.name_kept_ms
    free = kept + ctx.params.name_quarantine_ms
    state.set(NAMES, app.name, NameRecord(app.id, app.owner, kept_tick=kept, free_tick=free))
    touch_app(state, AppId(app.id))
    ctx.emit(AppDeleted(app.id, app.name))


def process_undelete_app(state: State, msg: UndeleteApp, ctx: Context) -> None:
    """Bring a deleted app back: its slots are queued again.

    Emits: AppUndeleted. Raises, first that applies: UnknownApp (apps/1), NotOwner (apps/2), NotDeleted (apps/10),
        NameTaken (apps/3) where the owner has given the name to a new app.
    """
    app = _get_own_app(state, msg.app, ctx)
    if app.status != "deleted":
        raise NotDeleted(f"app: {app.name} is not deleted")
    name = state.get(NAMES, app.name)
    if name is None or name.app != app.id:
        raise NameTaken(f"app: the name {app.name} belongs to another app now")
    state.set(APPS, AppId(app.id), replace(app, status="active", status_tick=ctx.tick_ms))
    state.set(NAMES, app.name, NameRecord(app.id, app.owner))
    touch_app(state, AppId(app.id))
    ctx.emit(AppUndeleted(app.id, app.name))


def process_transfer_app(state: State, msg: TransferApp, ctx: Context) -> None:
    """Make another account the owner. Sessions of the one before become void.

    Emits: AppTransferred. Raises, first that applies: UnknownApp (apps/1), NotOwner (apps/2), AppIsDeleted (apps/9),
        BadRecipient (accounts/3).
    """
    app = _get_live_app(state, msg.app, ctx)
    validate_address("to", msg.to)
    state.set(APPS, AppId(app.id), replace(app, owner=msg.to, session_epoch=app.session_epoch + 1))
    state.set(NAMES, app.name, NameRecord(app.id, msg.to))
    ctx.emit(AppTransferred(app.id, msg.to))


def process_evict_instance(state: State, msg: EvictInstance, ctx: Context) -> None:
    """Move a copy off its node, which the group does not use again for a day. The new copy starts first.

    Raises, first that applies: UnknownApp (apps/1), NotOwner (apps/2), AppIsDeleted (apps/9), UnknownCopy (apps/13),
        TooManyEvictions (apps/14).
    """
    app = _get_live_app(state, msg.app, ctx)
    placement = _get_placed_copy(state, AppId(app.id), msg.generation)
    key = (AppId(app.id), placement.group)
    group = get_group(state, *key)
    slot = placement.slot if placement.slot >= 0 else -1 - placement.spare
    recent = tuple(eviction for eviction in group.evictions if eviction.until_tick > ctx.tick_ms)
    limit = ctx.params.evictions_per_day
    if sum(eviction.slot == slot for eviction in recent) >= limit:
        raise TooManyEvictions(
            f"generation: this slot was moved {limit} times within a day; that is all that is allowed"
        )
    eviction = Eviction(placement.node, slot, ctx.tick_ms, ctx.tick_ms + DAY_MS)
    state.set(GROUPS, key, replace(group, evictions=(*recent, eviction)))
    touch_group(state, *key)


def process_revoke_sessions(state: State, msg: RevokeSessions, ctx: Context) -> None:
    """Make all sessions void that were given for the app so far.

    Emits: SessionsRevoked. Raises, first that applies: UnknownApp (apps/1), NotOwner (apps/2).
    """
    app = _get_own_app(state, msg.app, ctx)
    app = replace(app, session_epoch=app.session_epoch + 1)
    state.set(APPS, AppId(app.id), app)
    ctx.emit(SessionsRevoked(app.id, app.session_epoch))


def process_due_names(state: State, ctx: Context) -> None:
    """End-block step: forget apps whose time to be brought back is over, and free names after their quarantine."""
    deleted = state.index(APPS, APPS_DELETED)
    for deleted_tick, app_id in deleted[:PURGES_PER_BLOCK]:
        if deleted_tick + ctx.params.name_kept_ms > ctx.tick_ms:
            break
        _forget_app(state, app_id)
    for free_tick, name in state.index(NAMES, NAMES_TO_FREE)[:PURGES_PER_BLOCK]:
        if free_tick > ctx.tick_ms:
            break
        state.delete(NAMES, name)


def touch_group(state: State, app_id: AppId, name: str) -> None:
    """Let the scheduler settle the group at the end of this block."""
    if state.get(TOUCHED, (app_id, name)) is None:
        state.set(TOUCHED, (app_id, name), Touched())


def touch_app(state: State, app_id: AppId) -> None:
    for group in get_spec(state, get_app(state, app_id)).groups:
        touch_group(state, app_id, group.name)


def take_generation(state: State, app: App) -> int:
    """The next generation of a copy: never given twice."""
    state.set(APPS, AppId(app.id), replace(app, gen_counter=app.gen_counter + 1))
    return app.gen_counter + 1


def read_revision(public: bytes, sealed: bytes, images: tuple[Image, ...]) -> Spec:
    """The spec of a revision that fulfils all rules. Raises as RegisterApp, up to SealedTooLarge (apps/15)."""
    try:
        spec = SPEC.decode(public)
    except Rejected as error:
        raise NotCanonicalSpec(f"spec: {error.message}") from error
    validate_spec(spec)
    check_images(spec, images)
    if len(sealed) > SEALED_BYTES_MAX:
        raise SealedTooLarge(f"sealed: {len(sealed)} bytes; at most {SEALED_BYTES_MAX} are allowed")
    return spec


def check_names(state: State, params: Params) -> None:
    """Invariant: every living app has its name, and nobody else does."""
    for app_id, app in state.items(APPS):
        name = state.get(NAMES, app.name)
        if app.status == "active":
            assert name is not None, app.name
            assert (name.app, name.owner, name.free_tick) == (app_id, app.owner, 0), app.name
    assert state.count(TOUCHED) == 0, "a touched group was left unsettled"


def _get_own_app(state: State, app_id: bytes, ctx: Context) -> App:
    app = get_app(state, AppId(app_id))
    if app.owner != ctx.sender:
        raise NotOwner(f"app: {app.name} belongs to another account")
    return app


def _get_live_app(state: State, app_id: bytes, ctx: Context) -> App:
    app = _get_own_app(state, app_id, ctx)
    if app.status != "active":
        raise AppIsDeleted(f"app: {app.name} is deleted; bring it back first")
    return app


def _get_placed_copy(state: State, app_id: AppId, generation: int) -> Placement:
    placement = state.get(PLACEMENTS, (app_id, generation)) if 0 < generation < 1 << 63 else None
    if placement is None or placement.role not in ("active", "standby"):
        raise UnknownCopy(f"generation: the app has no serving or standing-by copy of generation {generation}")
    return placement


def _check_name_free(state: State, name: str, ctx: Context) -> None:
    """A deleted app's name is its owner's for `name_kept_ms`, then nobody's until `free_tick`."""
    record = state.get(NAMES, name)
    if record is None or 0 < record.free_tick <= ctx.tick_ms:
        return
    if not record.free_tick:
        raise NameTaken(f"name: {name} is another app's name")
    if record.owner != ctx.sender or record.kept_tick <= ctx.tick_ms:
        hours = -(-(record.free_tick - ctx.tick_ms) // 3_600_000)
        raise NameKept(f"name: {name} was deleted lately; it is free again in {hours} hours")


def _set_revision(state: State, app_id: AppId, number: int, msg: RegisterApp | UpdateApp) -> None:
    spec_hash = hashlib.sha256(msg.spec).digest()
    state.set(REVISIONS, (app_id, number), Revision(msg.spec, msg.sealed, msg.images, spec_hash))


def _forget_old_revision(state: State, app: App, spec: Spec) -> None:
    """Of revisions that no copy runs, the newest ones are kept."""
    in_use = [placement.revision for placement in _iterate_copies(state, AppId(app.id), spec)]
    kept_from = app.revision - REVISIONS_KEPT + 1
    for key, _ in state.items(REVISIONS, (AppId(app.id), 0), (AppId(app.id), max(kept_from, 0))):
        if key[1] not in in_use:
            state.delete(REVISIONS, key)


def _iterate_copies(state: State, app_id: AppId, spec: Spec) -> Iterable[Placement]:
    for group in spec.groups:
        for _, placement in get_copies(state, app_id, get_group(state, app_id, group.name)):
            yield placement


def _forgive(slot: Slot) -> Slot:
    """A new revision is tried even where the one before was given up."""
    return Slot("queued") if slot.state == "held" else replace(slot, failures=())


def _forget_app(state: State, app_id: AppId) -> None:
    """Remove all of a deleted app but its name, unless a copy is still to be stopped: then a later block does."""
    app = get_app(state, app_id)
    names = [group.name for group in get_spec(state, app).groups]
    if any(get_generations(get_group(state, app_id, name)) for name in names):
        return
    for name in names:
        state.delete(GROUPS, (app_id, name))
    for key, _ in state.items(REVISIONS, (app_id, 0), (app_id, app.revision + 1)):
        state.delete(REVISIONS, key)
    state.delete(ROUTES, app_id)
    state.delete(APPS, app_id)
