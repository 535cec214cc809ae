"""Limits on the size of clips and on the cost of reading them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import InputError

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of `open_clip`. The defaults suit one's own machine; a server sets its own."""

    file_mib: int = 16_384  # of the file, or of one image of a folder
    seconds: float = 14_400.0
    frames: int = 500_000
    pixels: int = 8192 * 8192  # of one frame
    zip_members: int = 200_000  # files in a zip, of any kind
    zip_ratio: int = 1_000  # unpacked size of a zip's images to the size of the zip
    decode_seconds: int = 3_600  # of waiting for the decoder in one pass over a clip
    decode_mib: int = 16_384  # memory of the decoder, where the system can bound it


def check_limit(name: str, has: str, value: float, unit: str, most: float, remedy: str) -> None:
    """Raise InputError when `value` is above `most`; the message reads: name has value unit."""
    if value > most:
        shown = math.ceil(round(value * 10, 6)) / 10  # rounded up, so that it never looks allowed
        raise InputError(
            f"{name!r} {has} {_number(shown)} {unit}, and the limit here is {_number(most)} "
            f"{unit}; {remedy}."
        )


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def check_pixels(name: str, size: tuple[int, int], limits: Limits) -> None:
    """Raise InputError for a frame (H, W) of too many pixels."""
    if size[0] * size[1] > limits.pixels:
        raise InputError(
            f"{name} is {size[1]}×{size[0]}, more than the {limits.pixels / 1e6:g} million "
            "pixels allowed here; make it smaller."
        )


def check_frames(name: str, frames: int, limits: Limits) -> None:
    """Raise InputError for too many frames."""
    check_limit(name, "has", frames, "frames", limits.frames, "give a shorter clip")


def check_seconds(name: str, seconds: float, limits: Limits) -> None:
    """Raise InputError for a clip that lasts too long."""
    check_limit(name, "lasts", seconds, "s", limits.seconds, "cut it")
