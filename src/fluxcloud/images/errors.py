"""What is wrong with an image. Each text names the image, where known the layer and the path, and what is allowed."""

from __future__ import annotations

from ..errors import Rejected


class ImageRejected(Rejected):
    """The image is not allowed."""

    CODE = "image/0"


class BadDigest(ImageRejected):
    """A digest is not `sha256:` and 64 lower-case hexadecimal digits."""

    CODE = "image/1"


class DigestMismatch(ImageRejected):
    """The bytes have another SHA-256 than their name says."""

    CODE = "image/2"


class SizeMismatch(ImageRejected):
    """A blob or file is longer or shorter than it was said to be."""

    CODE = "image/3"


class BadManifest(ImageRejected):
    """A manifest, index or configuration can't be read."""

    CODE = "image/4"


class WrongPlatform(ImageRejected):
    """The image has nothing for this platform."""

    CODE = "image/5"


class BadArchive(ImageRejected):
    """The file or folder is neither a `docker save` archive nor an OCI image layout, or is damaged."""

    CODE = "image/6"


class UnsupportedCompression(ImageRejected):
    """A layer is compressed in a way that can't be read here."""

    CODE = "image/7"


class TooBig(ImageRejected):
    """More layers, files or bytes than are allowed."""

    CODE = "image/8"


class UnsafePath(ImageRejected):
    """A name in a layer leaves the image's root, or can't be a file's name."""

    CODE = "image/9"


class ForbiddenEntry(ImageRejected):
    """A layer holds something else than files, folders and links."""

    CODE = "image/10"


class UnsafeLink(ImageRejected):
    """A link leads out of the image's root, or a hard link to something that isn't a file of the image."""

    CODE = "image/11"


class MissingBlob(ImageRejected):
    """A part of the image is not in the content store."""

    CODE = "image/12"


class BadLayer(ImageRejected):
    """A layer is not a readable tar archive."""

    CODE = "image/13"


class StoreFull(ImageRejected):
    """The content store has reached the size it was given."""

    CODE = "image/14"


class BadReference(ImageRejected):
    """The name of an image can't be read as registry/repository:tag@digest."""

    CODE = "image/15"


class Unauthorised(ImageRejected):
    """The registry gives the image only to those who may have it, or says so of one that doesn't exist."""

    CODE = "image/16"


class UnknownImage(ImageRejected):
    """The registry has no such repository, tag or digest."""

    CODE = "image/17"


class BadRegistry(ImageRejected):
    """The registry answers what the protocol does not allow."""

    CODE = "image/18"


class ForbiddenAddress(ImageRejected):
    """The registry, or where it sends us, is at an address that may not be asked from here."""

    CODE = "image/19"


class PrivateImage(ImageRejected):
    """The image's registry can't be asked by nodes, so that whoever deploys has to send it."""

    CODE = "image/20"


class NoBusybox(ImageRejected):
    """The built-in web server can't be made: this machine has no static busybox."""

    CODE = "image/21"
