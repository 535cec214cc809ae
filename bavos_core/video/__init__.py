"""Reading and writing clips. All frames are read and written by this package."""

from .clip import IMAGE_SUFFIXES, IMAGES_FPS, VIDEO_SUFFIXES, ArrayClip, Clip, sample_indices
from .images import ImageClip, natural
from .limits import Limits
from .opening import open_clip
from .writing import VideoWriter, playback

__all__ = [
    "IMAGES_FPS", "IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "ArrayClip", "Clip", "ImageClip", "Limits",
    "VideoWriter", "natural", "open_clip", "playback", "sample_indices",
]  # fmt: skip
