"""Decoding single images and the pages of animated ones to 8-bit sRGB.

The files are not trusted: only common formats are read, and limits are checked before pixels are.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from typing import IO

import numpy as np
from PIL import Image, ImageCms, ImageOps, features

from .errors import InputError
from .limits import Limits, check_frames, check_pixels
from .stopping import checkpoint

_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")  # Pillow knows others that start programs
_BRANDS = {  # of an ISO file whose content is an image
    b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIF", b"heix": "HEIF", b"hevc": "HEIF",
    b"heim": "HEIF", b"heis": "HEIF", b"mif1": "HEIF", b"msf1": "HEIF",
}  # fmt: skip
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PAGED = ("PNG", "TIFF", "WEBP", "AVIF")
_IN_STEPS = ("PNG", "WEBP")
_SHORTEST = 0.01  # seconds; browsers show pages for _USUAL that ask for no more than this
_USUAL = 0.1


def is_image(head: bytes) -> bool:
    """Tell by its first bytes whether a file is an image."""
    webp = head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    return webp or _iso(head) is not None or head.startswith(_STARTS)


def _iso(head: bytes) -> str | None:
    return _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return the formats that can be read here."""
    formats = _FORMATS + (("AVIF",) if features.check("avif") else ())
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        formats += ("HEIF",)
    return formats


@contextlib.contextmanager
def opened(file: IO[bytes], what: str, limits: Limits) -> Iterator[Image.Image]:
    """Open an image. Raise InputError for anything but an image within the limits, read or not.

    what: its name in messages.
    """
    try:
        kind = _iso(file.read(12))
        if kind and kind not in _formats():
            raise InputError(f"{what} is {kind}, which needs pillow-heif; export it as jpg or png.")
        file.seek(0)
        with Image.open(file, formats=_formats()) as image:
            check_pixels(what, (image.height, image.width), limits)
            yield image
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{what} has too many pixels; make it smaller.") from error
    except Exception as error:  # Pillow and zipfile may raise anything on damaged bytes
        raise InputError(f"{what} cannot be read; export it again as jpg or png.") from error


def decode_image(data: bytes, what: str, limits: Limits) -> np.ndarray:
    """Decode an image to (H, W, 3) uint8, upright. Raise InputError as `opened` does."""
    with opened(io.BytesIO(data), what, limits) as image:
        return to_srgb(image)


def durations(image: Image.Image, what: str, limits: Limits) -> list[float | None]:
    """Return the seconds that each page of an image is shown, None where they are not given.

    Pages of different sizes are not frames, but thumbnails and the like: the first alone counts.
    """
    if image.format not in _PAGED:
        return [None]
    first = int(image.info.get("default_image", False))  # a still that animation leaves out
    count = getattr(image, "n_frames", 1) - first
    if count == 1:  # it need not be decoded for its time
        return [None]
    check_frames(what, count, limits)
    seconds: list[float | None] = []
    for page in range(first, first + count):
        checkpoint()
        size = image.size
        image.seek(page)
        if image.size != size:
            return [None]
        image.load()  # WebP knows the time only then
        given = image.info.get("duration")
        seconds.append(None if given is None else max(given / 1000, 0))
    return [_USUAL if s is not None and s <= _SHORTEST else s for s in seconds]


def go_to(image: Image.Image, page: int) -> None:
    """Go to a page, step by step where a page is made from the one before."""
    for between in range(image.tell() + 1, page) if image.format in _IN_STEPS else ():
        checkpoint()
        image.seek(between)
        image.load()
    image.seek(page)


def to_srgb(image: Image.Image) -> np.ndarray:
    """Return the current page as (H, W, 3) uint8 sRGB, upright, over black where it has alpha."""
    upright = ImageOps.exif_transpose(_eight_bit(image))
    if "transparency" in upright.info or "A" in upright.getbands() or upright.mode == "PA":
        upright = upright.convert("RGBA")
        alpha = upright.getchannel("A")
        colours = _by_profile(upright.convert("RGB"), image.info.get("icc_profile"))
        return np.array(Image.composite(colours, Image.new("RGB", upright.size), alpha))
    return np.array(_by_profile(upright, image.info.get("icc_profile")))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey and float images to 8 bits; Pillow would clip them."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0, neginf=0)
    most = values.max(initial=0)
    if image.mode.startswith("I"):
        white = 65535.0
    else:  # 0 … 1 as is usual for floats, else the range of 8 or 16 bits
        white = next((white for white in (1.0, 255.0, 65535.0) if most <= white), most)
    return Image.fromarray((values * (255 / white)).round().clip(0, 255).astype(np.uint8))


def _by_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert colours by the image's ICC profile; one that is broken is ignored, as in browsers."""
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, _srgb(), outputMode="RGB")
            if converted:
                return converted
    return image.convert("RGB")


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
