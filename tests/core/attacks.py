"""Uploads that try to make a decoder read other files or call a server.

Every attack names a server that counts its callers, a text and a video that nobody may read.
"""

import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from .helpers import ffmpeg, make_video
from .odd_files import H264, picture

MAGENTA = (255, 0, 255)  # of the secret video; no other picture here has it
SECRET = "the-secret-of-these-tests"


@dataclass
class Target:
    """What must not be reached."""

    folder: Path
    calls: list[bytes]
    secrets: list[Path]
    port: int = 0

    @property
    def text(self) -> Path:
        return self.folder / "secret.txt"

    @property
    def video(self) -> Path:
        return self.folder / "secret.mp4"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/secret.mp4"

    def untouched(self) -> bool:
        """Whether nobody has called, and nobody has read: reading changes the time of reading."""
        return not self.calls and all(path.stat().st_atime == 1 for path in self.secrets)


def playlist(target: Target) -> str:
    """HTTP Live Streaming: segments are other files."""
    segments = "".join(f"#EXTINF:1,\n{s}\n" for s in (target.url, "secret.ts", target.text))
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{segments}#EXT-X-ENDLIST\n"


def encrypted_playlist(target: Target) -> str:
    """Its key is another file."""
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{target.url}"\n'
    return playlist(target).replace("#EXTINF", f"{key}#EXTINF", 1)


def concat_script(target: Target) -> str:
    return f"ffconcat version 1.0\nfile {target.video}\nfile {target.url}\n"


def dash(target: Target) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
        f'<Representation id="1"><BaseURL>{target.url}</BaseURL><SegmentList>'
        f'<Initialization sourceURL="{target.url}"/></SegmentList></Representation>'
        "</AdaptationSet></Period></MPD>"
    )


def session(target: Target) -> str:
    """A description of a stream that a server would send."""
    where = f"c=IN IP4 127.0.0.1\nm=video {target.port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    return f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\n{where}"


def avisynth(target: Target) -> str:
    return f'FFVideoSource("{target.video}")\n'


def svg(target: Target) -> str:
    images = "".join(f'<image href="{a}"/>' for a in (target.url, f"file://{target.video}"))
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48">{images}</svg>'


def postscript(target: Target) -> str:
    """A program, for a reader that would start an interpreter."""
    return (
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n"
        f"({target.text}) (r) file 1000 string readstring pop show\n%%EOF\n"
    )


def box(kind: bytes, *content: bytes) -> bytes:
    """A box of an MP4."""
    data = b"".join(content)
    return struct.pack(">I", len(data) + 8) + kind + data


def reference_movie(target: Target) -> bytes:
    """A QuickTime film that is said to be elsewhere."""
    url = target.url.encode() + b"\0"
    rdrf = box(b"rdrf", bytes(4), b"url ", struct.pack(">I", len(url)), url)
    return box(b"ftyp", b"qt  " + bytes(4)) + box(b"moov", box(b"rmra", box(b"rmda", rdrf)))


def external_track(target: Target) -> bytes:
    """A film whose pictures are said to be in another file, by its absolute path."""
    own = target.folder / "own.mov"
    make_video(own, *H264)
    path = str(target.video).encode()
    path += bytes(len(path) % 2)
    name = target.video.name.encode()
    alias = (
        bytes(4) + bytes(10) + bytes([3]) + b"vol".ljust(27, b"\0") + bytes(12)
        + bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)
        + struct.pack(">hh", 1, 1) + bytes(16)
        + struct.pack(">HH", 2, len(path)) + path + struct.pack(">HH", 0xFFFF, 0)
    )  # fmt: skip
    data = with_alias(own.read_bytes(), box(b"alis", alias))
    own.unlink()
    return data


def with_alias(film: bytes, alias: bytes) -> bytes:
    """The film (whose index is at its end) with another data reference."""
    place = film.index(b"dref") - 4
    old = struct.unpack(">I", film[place : place + 4])[0]
    new = box(b"dref", bytes(4), struct.pack(">I", 1), alias)
    data = bytearray(film[:place] + new + film[place + old :])
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        start = data.rindex(kind, 0, place) - 4
        size = struct.unpack(">I", data[start : start + 4])[0]
        data[start : start + 4] = struct.pack(">I", size + len(new) - old)
    return bytes(data)


def chunk(kind: bytes, *content: bytes) -> bytes:
    """A chunk of an AVI."""
    data = b"".join(content)
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def subtitled(target: Target) -> bytes:
    """A film with subtitles that are a playlist (as in CVE-2017-9993)."""
    text = playlist(target).encode()
    gab2 = b"GAB2\0" + struct.pack("<HIHH", 2, 2, 0, 4) + struct.pack("<I", len(text)) + text
    avih = struct.pack("<14I", 40000, 0, 0, 16, 1, 0, 2, 0, 64, 48, 0, 0, 0, 0)
    vids = (
        b"vidsMJPG"
        + struct.pack("<10I", 0, 0, 0, 1, 25, 0, 1, 0, 0, 0)
        + struct.pack("<4H", 0, 0, 64, 48)
    )
    txts = b"txts\0\0\0\0" + struct.pack("<10I", 0, 0, 0, 1, 25, 0, 1, 0, 0, 0) + bytes(8)
    look = struct.pack("<IiiHH4s5I", 40, 64, 48, 1, 24, b"MJPG", 0, 0, 0, 0, 0)
    streams = (
        chunk(b"LIST", b"strl", chunk(b"strh", vids), chunk(b"strf", look)),
        chunk(b"LIST", b"strl", chunk(b"strh", txts), chunk(b"strf")),
    )
    header = chunk(b"LIST", b"hdrl", chunk(b"avih", avih), *streams)
    frame = chunk(b"00dc", picture("JPEG"))
    return chunk(b"RIFF", b"AVI ", header, chunk(b"LIST", b"movi", chunk(b"01tx", gab2), frame))


def attached(target: Target) -> bytes:
    """A film with a playlist and an SVG attached, and subtitles that name files."""
    places = [target.folder / name for name in ("list.m3u8", "list.svg", "list.srt", "own.mkv")]
    places[0].write_text(playlist(target))
    places[1].write_text(svg(target))
    places[2].write_text(f"1\n00:00:00,000 --> 00:00:01,000\n<img src='{target.url}'>\n")
    mime = ("-metadata:s:t", "mimetype=application/octet-stream")
    attachments = ("-attach", places[0], "-attach", places[1], *mime)
    video = ("-f", "lavfi", "-i", "color=gray:size=64x48:rate=10:duration=0.5")
    ffmpeg(*video, "-i", places[2], "-map", 0, "-map", 1, *H264, *attachments, places[3])
    data = places[3].read_bytes()
    for place in places:
        place.unlink()
    return data


def zipped(target: Target) -> bytes:
    """A zip with playlists and drawings that are named as pictures."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, make in (("1.png", playlist), ("2.png", svg), ("3.png", postscript)):
            archive.writestr(name, make(target))
    return buffer.getvalue()


def linked(target: Target) -> bytes:
    """A zip with links to the secrets and names that lead to them."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, place in (("1.png", target.folder / "secret001.png"), ("2.png", target.text)):
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, 0o120777 << 16
            archive.writestr(entry, str(place))
    return buffer.getvalue()


Attack = Callable[[Target], str | bytes]
ATTACKS: dict[str, tuple[Attack, tuple[str, ...]]] = {
    "playlist": (playlist, (".mp4", ".mkv", ".gif", ".avi", ".png")),
    "encrypted-playlist": (encrypted_playlist, (".mp4",)),
    "concat": (concat_script, (".mp4", ".mov", ".webm")),
    "dash": (dash, (".mp4",)),
    "session": (session, (".mp4",)),
    "avisynth": (avisynth, (".avi",)),
    "svg": (svg, (".mp4", ".png", ".webp")),
    "postscript": (postscript, (".jpg", ".png", ".tif")),
    "reference-movie": (reference_movie, (".mov",)),
    "external-track": (external_track, (".mov",)),
    "subtitled": (subtitled, (".avi",)),
    "attached": (attached, (".mkv",)),
    "zipped": (zipped, (".zip",)),
    "linked": (linked, (".zip",)),
}
