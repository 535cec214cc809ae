"""The sound of a film."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import av
from av.error import FFmpegError
from av.stream import Disposition

from . import SOUND_RATE
from .film import Film

_GAP = SOUND_RATE // 20  # samples by which the sound may be early or late before it is moved


def sound(film: Film) -> Iterator[bytes]:
    """Yield the sound of the film's part from its first frame on: 16 bits, two channels, 48 kHz.

    Silence fills gaps, and what overlaps is cut, so that picture and sound stay together.
    """
    first = next(film.shown(), None)
    audio = _audio(film)
    if first is None or audio is None:
        return
    origin, written = film.origin + first.time, 0
    film.container.seek(int((origin - 1) * av.time_base) if first.time else 0)
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=SOUND_RATE)
    for frame in _decoded_sound(film, audio, resampler):
        place = round((float(frame.pts * frame.time_base) - origin) * SOUND_RATE)
        data = bytes(frame.planes[0])[: 4 * frame.samples]
        while place > written + _GAP:
            silence = min(place - written, SOUND_RATE)
            yield bytes(4 * silence)
            written += silence
        if place < written - _GAP:
            data = data[4 * min(written - place, frame.samples) :]
        for begin in range(0, len(data), 4 * SOUND_RATE):
            piece = data[begin : begin + 4 * SOUND_RATE]
            written += len(piece) // 4
            yield piece


def _audio(film: Film) -> Any:
    streams = [s for s in film.container.streams.audio if s.codec_context]
    streams = [s for s in streams if s.codec_context.codec.canonical_name in film.request["codecs"]]
    return max(streams, key=lambda s: bool(s.disposition & Disposition.default), default=None)


def _decoded_sound(film: Film, audio: Any, resampler: av.AudioResampler) -> Iterator[av.AudioFrame]:
    with contextlib.suppress(FFmpegError):  # damaged from here on
        for packet in film.container.demux(audio):
            frames: list[Any] = []
            with contextlib.suppress(FFmpegError):
                frames = packet.decode()
            for frame in frames:
                if frame.pts is not None:
                    yield from resampler.resample(frame)
