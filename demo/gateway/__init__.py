"""The gateway between the network and Gradio: who asks, what is served, and how much of it."""

from .connections import limit
from .gate import HANDLERS, Gate, Keeper, Rules
from .origins import Names
from .uploads import Uploads

__all__ = ["HANDLERS", "Gate", "Keeper", "Names", "Rules", "Uploads", "limit"]
