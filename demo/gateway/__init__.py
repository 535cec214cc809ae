"""The gateway between the network and Gradio: who asks, what is served, and how much of it."""

from .gate import Gate, Keeper, Rules
from .origins import Names
from .uploads import Uploads

__all__ = ["Gate", "Keeper", "Names", "Rules", "Uploads"]
