"""Reading and writing clips. Every frame that enters or leaves Bavos passes through here."""

from .clip import IMAGE_SUFFIXES, PICTURES_FPS, VIDEO_SUFFIXES, ArrayClip, Clip, sample_indices
from .decoding import VideoClip
from .images import PictureClip, decode_picture, natural
from .limits import Limits
from .opening import open_clip
from .writing import VideoWriter, playback

__all__ = [
    "IMAGE_SUFFIXES",
    "PICTURES_FPS",
    "VIDEO_SUFFIXES",
    "ArrayClip",
    "Clip",
    "Limits",
    "PictureClip",
    "VideoClip",
    "VideoWriter",
    "decode_picture",
    "natural",
    "open_clip",
    "playback",
    "sample_indices",
]
