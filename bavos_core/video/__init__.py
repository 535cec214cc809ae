"""Reading and writing clips. All frames are read and written by this package."""

from .clip import IMAGE_SUFFIXES, IMAGES_FPS, VIDEO_SUFFIXES, ArrayClip, Clip, TimedFrame, Timeline
from .images import ImageClip, natural
from .limits import Limits
from .opening import open_clip
from .worker import spread
from .writing import VideoWriter

__all__ = [
    "IMAGES_FPS", "IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "ArrayClip", "Clip", "ImageClip", "Limits",
    "TimedFrame", "Timeline", "VideoWriter", "natural", "open_clip", "spread",
]  # fmt: skip
