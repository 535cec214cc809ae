"""Decoded frames as plain pixels."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import av
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, VideoReformatter

from .film import Film

_HD_LINES = 720  # browsers take untagged video with so many lines for BT.709, else for BT.601
_UNTAGGED = 2  # FFmpeg's number of an unspecified matrix
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)  # PQ and HLG
_WIDE = (ColorPrimaries.BT2020, ColorPrimaries.SMPTE431, ColorPrimaries.SMPTE432)


class Pictures:
    """Frames as 8-bit sRGB pictures of one size, stored as the file has them, not yet turned."""

    def __init__(self, film: Film, first: av.VideoFrame):
        aspect = film.stream.sample_aspect_ratio or Fraction(1)
        most = film.request["pixels"] // first.height + 1  # however oblong pixels claim to be
        width = max(1, min(round(first.width * aspect), most))
        self.turn = transposed, *_ = _turn(first)
        size = (first.height, width)
        self.full_size = size[::-1] if transposed else size  # (H, W) upright
        wanted = film.request["size"] or self.full_size
        self._stored = wanted[::-1] if transposed else wanted
        self._reformatter = VideoReformatter()

    def of(self, frame: av.VideoFrame) -> tuple[dict[str, Any], list[memoryview]]:
        """Return the description of a picture, and its rows.

        Its shape is (H, W, 3 or 4), the fourth channel being alpha. Where it names a light, the
        values have 16 bits, and FFmpeg's numbers say what transfer function and primaries.
        """
        height, width = self._stored
        alpha = any(component.is_alpha for component in frame.format.components)
        far = frame.color_trc in _HDR or frame.color_primaries in _WIDE
        channels, kind = (4, "rgba") if alpha else (3, "rgb48le" if far else "rgb24")
        matrix = Colorspace.ITU709 if _looks_hd(frame) else None
        picture = self._reformatter.reformat(frame, width, height, kind, src_colorspace=matrix)
        plane = picture.planes[0]
        data, step = memoryview(plane), plane.line_size
        row = width * channels * (2 if kind == "rgb48le" else 1)
        whole = [data[: row * height]]
        rows = [data[i * step : i * step + row] for i in range(height)]
        about: dict[str, Any] = {"shape": [height, width, channels]}
        if kind == "rgb48le":
            about["light"] = [int(frame.color_trc), int(frame.color_primaries)]
        return about, whole if step == row else rows


def _looks_hd(frame: av.VideoFrame) -> bool:
    """Tell whether players take a frame for BT.709 because nothing says what it is."""
    untagged = frame.colorspace == _UNTAGGED and not frame.format.is_rgb
    return untagged and frame.height >= _HD_LINES


def _turn(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Return whether rows and columns change places, and whether y and x then run backwards."""
    matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
    a, b, _, c, d = struct.unpack("<9i", bytes(matrix))[:5] if matrix else (1, 0, 0, 0, 1)
    transposed = abs(b) > abs(a)
    return transposed, (b if transposed else d) < 0, (c if transposed else a) < 0
