"""The format of one part of a scene: a JSON header and arrays, compressed.

gzip of: the length of the header (u32, little-endian), the header (UTF-8, padded with spaces until
both are a multiple of 8 bytes), and the arrays, each from a multiple of 8 bytes after the header
on. The header's field `blobs` gives of each array [dtype, shape, offset after the header].
"""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bavos_io.stopping import checkpoint

_ALIGN = 8
_AT_ONCE = 2**21  # bytes that are compressed between two chances to stop
LEVEL = 6  # of gzip: 9 takes four times as long for a percent
_CODES = {"u8": "<u1", "u16": "<u2", "i32": "<i4", "i8": "<i1", "f32": "<f4", "f64": "<f8"}
_NAMES = {np.dtype(code): name for name, code in _CODES.items()}


def pack(fields: Mapping[str, Any], blobs: Mapping[str, np.ndarray]) -> bytes:
    """Return JSON-ready fields and arrays as one part. Raise KeyError for other dtypes."""
    table, pieces, offset = {}, [], 0
    for name, blob in blobs.items():
        table[name] = [_NAMES[blob.dtype], list(blob.shape), offset]
        pieces.append(_padded(np.ascontiguousarray(blob).tobytes(), b"\0"))
        offset += len(pieces[-1])
    text = json.dumps({**fields, "blobs": table}, allow_nan=False, separators=(",", ":")).encode()
    text = _padded(text, b" ", before=4)
    return compressed(b"".join([struct.pack("<I", len(text)), text, *pieces]))


def compressed(data: bytes) -> bytes:
    """Return data as gzip does, without a time."""
    packer, packed = zlib.compressobj(LEVEL, wbits=zlib.MAX_WBITS + 16), []
    for start in range(0, len(data), _AT_ONCE):
        checkpoint()
        packed.append(packer.compress(data[start : start + _AT_ONCE]))
    return b"".join([*packed, packer.flush()])


def unpack(part: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the fields and arrays of a part."""
    data = gzip.decompress(part)
    start = 4 + struct.unpack_from("<I", data)[0]
    fields = json.loads(data[4:start])
    blobs = {}
    for name, (code, shape, offset) in fields.pop("blobs").items():
        dtype, count = np.dtype(_CODES[code]), int(np.prod(shape, dtype=np.int64))
        blobs[name] = np.frombuffer(data, dtype, count, start + offset).reshape(shape)
    return fields, blobs


def _padded(data: bytes, fill: bytes, before: int = 0) -> bytes:
    return data + fill * (-(before + len(data)) % _ALIGN)
