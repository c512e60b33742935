"""What apps refuse."""

from __future__ import annotations

from ...errors import Rejected


class UnknownApp(Rejected):
    """No such app."""

    CODE = "apps/1"


class NotOwner(Rejected):
    """Only the app's owner may do this."""

    CODE = "apps/2"


class NameTaken(Rejected):
    """Another app has this name."""

    CODE = "apps/3"


class NameKept(Rejected):
    """The name belonged to an app that was deleted lately."""

    CODE = "apps/4"


class OutOfBounds(Rejected):
    """A field of the spec is not within its bounds."""

    CODE = "apps/5"


class Contradiction(Rejected):
    """Fields of the spec that don't go together."""

    CODE = "apps/6"


class NotYet(Rejected):
    """The spec asks for something that this version of the network does not have."""

    CODE = "apps/7"


class BadImages(Rejected):
    """The images of a revision don't fit its components."""

    CODE = "apps/8"


class AppIsDeleted(Rejected):
    """The app is deleted."""

    CODE = "apps/9"


class NotDeleted(Rejected):
    """The app is not deleted, so there is nothing to bring back."""

    CODE = "apps/10"


class UnknownGroup(Rejected):
    """The app has no such group."""

    CODE = "apps/11"


class GroupsDiffer(Rejected):
    """A revision must have the same groups as the one before."""

    CODE = "apps/12"


class UnknownCopy(Rejected):
    """The app has no such copy that serves or stands by."""

    CODE = "apps/13"


class TooManyEvictions(Rejected):
    """A slot may be moved only a few times a day without proof."""

    CODE = "apps/14"


class SealedTooLarge(Rejected):
    """The sealed part of a revision is too large."""

    CODE = "apps/15"


class NotCanonicalSpec(Rejected):
    """The spec's bytes are not the canonical encoding of a spec."""

    CODE = "apps/16"


ERRORS: tuple[type[Rejected], ...] = (
    UnknownApp,
    NotOwner,
    NameTaken,
    NameKept,
    OutOfBounds,
    Contradiction,
    NotYet,
    BadImages,
    AppIsDeleted,
    NotDeleted,
    UnknownGroup,
    GroupsDiffer,
    UnknownCopy,
    TooManyEvictions,
    SealedTooLarge,
    NotCanonicalSpec,
)
