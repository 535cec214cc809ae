"""HDR and wide-gamut video as the sRGB that a player shows on an ordinary screen; CIELAB."""

from __future__ import annotations

import functools

import numpy as np

WHITE = 203.0  # cd/m² of paper white in HDR (ITU-R BT.2408)
_PEAK = 1000.0 / WHITE  # brightest light that is kept apart; what is brighter becomes white
_KNEE = 0.3  # light below it stays as it is
_GAMMA = 2.4  # of an ordinary screen (ITU-R BT.1886)
_PQ, _HLG = 16, 18  # FFmpeg's numbers of transfer functions
_BT2020, _P3_DCI, _P3 = 9, 11, 12  # and of primaries
_FROM_BT2020 = [
    [1.660491, -0.587641, -0.072850],
    [-0.124550, 1.132900, -0.008349],
    [-0.018151, -0.100579, 1.118730],
]
_FROM_P3 = [
    [1.224940, -0.224940, 0.0],
    [-0.042057, 1.042057, 0.0],
    [-0.019638, -0.078636, 1.098274],
]
_TO_BT709 = {_BT2020: _FROM_BT2020, _P3: _FROM_P3, _P3_DCI: _FROM_P3}


def to_srgb(picture: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Return a picture (H, W, 3) uint16 in its own transfer function and primaries as uint8.

    transfer, primaries: FFmpeg's numbers. Light above the knee is compressed by the brightest of
    the three channels, so that hues are kept (ITU-R BT.2446 describes such curves).
    """
    light = _light(transfer)[picture]  # (H, W, 3); 1 is white
    if transfer == _HLG:  # the screen's part: gamma 1.2 on luminance (ITU-R BT.2100)
        luminance = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        light *= (np.maximum(luminance, 1e-6) ** np.float32(0.2) * np.float32(_PEAK))[..., None]
    if primaries in _TO_BT709:
        light = light @ np.array(_TO_BT709[primaries], np.float32).T
    light = np.maximum(light, 0)
    if transfer in (_PQ, _HLG):
        brightest = np.maximum(light.max(axis=2, keepdims=True), 1e-6)
        light *= _compressed(brightest) / brightest
    levels = (light.clip(0, 1) * 4095).astype(np.uint16)
    return _encoded()[levels]


def _compressed(light: np.ndarray) -> np.ndarray:
    """Compress light from the knee on, so that the peak becomes white."""
    above = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    peak = (_PEAK - _KNEE) / (1 - _KNEE)
    return np.minimum(light, _KNEE) + (1 - _KNEE) * above * (1 + above / peak**2) / (1 + above)


@functools.lru_cache(4)
def _light(transfer: int) -> np.ndarray:
    """Return the light of every 16-bit value, (65536,) float32; 1 is white, for HLG the peak."""
    values = np.linspace(0, 1, 2**16)
    if transfer == _PQ:  # SMPTE ST 2084
        power = values ** (32 / 2523)
        light = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        return np.float32(10_000 / WHITE * light ** (16384 / 2610))
    if transfer == _HLG:  # ITU-R BT.2100
        high = (np.exp((values - 0.55991073) / 0.17883277) + 0.28466892) / 12
        return np.float32(np.where(values <= 0.5, values**2 / 3, high))
    return np.float32(values**_GAMMA)


@functools.cache
def _encoded() -> np.ndarray:
    """Return the sRGB value of 4096 steps of light, (4096,) uint8."""
    return np.uint8(np.round(255 * np.linspace(0, 1, 4096) ** (1 / _GAMMA)))


def lab(colours: np.ndarray) -> np.ndarray:
    """Return sRGB (…, 3) uint8 as CIELAB (D65)."""
    part = colours / 255
    linear = np.where(part > 0.04045, ((part + 0.055) / 1.055) ** 2.4, part / 12.92)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    relative = linear @ np.transpose(to_xyz) / np.sum(to_xyz, 1)
    x, y, z = np.moveaxis(
        np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116), -1, 0
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
