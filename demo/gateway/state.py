"""The state that Gradio keeps of each session, and how it is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
from gradio.state_holder import SessionState, StateHolder


class LightState(SessionState):
    """The state of a session without a copy of everything that its page was sent or sends."""

    def __init__(self, blocks: gr.Blocks):
        empty = SimpleNamespace(default_config=blocks.default_config, blocks={})
        super().__init__(cast(gr.Blocks, empty))

    def _update_config(self, key: int) -> None:
        """Keep nothing: only links into a page's state, which are not served, need it."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Keep nothing, as above."""


class States(StateHolder):
    """The states of all sessions; those that are open stay."""

    def __init__(self, is_open: Callable[[str], bool]):
        super().__init__()
        self._is_open = is_open

    def __getitem__(self, session_id: str) -> SessionState:
        """Return the state of a session; make it if there is none."""
        with self.lock:
            if session_id not in self.session_data:
                self.session_data[session_id] = LightState(self.blocks)
        return super().__getitem__(session_id)

    def update(self, session_id: str) -> None:
        """Note that a session was used; let go of the one that was used last if there are many."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
            if len(self.session_data) > self.capacity:
                closed = (one for one in self.session_data if not self._is_open(one))
                evicted = next(closed, session_id)
                if evicted != session_id:
                    self.drop(evicted)

    def drop(self, session_id: str) -> None:
        """Forget a session."""
        self.session_data.pop(session_id, None)
        self.time_last_used.pop(session_id, None)


def forget(app: Any, session: str) -> bool:
    """Forget what Gradio keeps of a session; return False if something runs or waits in it."""
    queue = app.get_blocks()._queue
    if any(event.session_hash == session for event in queue.event_ids_to_events.values()):
        return False
    queue.pending_messages_per_session.pop(session, None)
    queue.pending_event_ids_session.pop(session, None)
    if isinstance(app.state_holder, States):
        app.state_holder.drop(session)
    return True
