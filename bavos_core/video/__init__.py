"""Reading and writing clips. Every frame that enters or leaves Bavos passes through here."""

from .clip import IMAGE_SUFFIXES, IMAGES_FPS, VIDEO_SUFFIXES, ArrayClip, Clip, sample_indices
from .decoding import VideoClip
from .images import ImageClip, decode_image, natural
from .limits import Limits
from .opening import open_clip
from .writing import VideoWriter, playback

__all__ = [
    "IMAGE_SUFFIXES",
    "IMAGES_FPS",
    "VIDEO_SUFFIXES",
    "ArrayClip",
    "Clip",
    "Limits",
    "ImageClip",
    "VideoClip",
    "VideoWriter",
    "decode_image",
    "natural",
    "open_clip",
    "playback",
    "sample_indices",
]
