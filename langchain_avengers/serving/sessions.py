"""Conversations that keep their model: which model answered last in a session, and why it was chosen."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langchain_avengers.serving.store import Store


class Sessions:
    """Where each session stands: in the store when there is one, else in this process.

    Args:
        store: Shared by all processes of a server.
        most: Sessions held without a store; the least recently used one makes room.
    """

    def __init__(self, store: Store | None, most: int = 10_000) -> None:
        """Begin with none, or with those of the store."""
        self._store, self._most = store, most
        self._held: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    async def get(self, session_id: str) -> Mapping[str, Any] | None:
        """What the session's last answer says of itself: `model` and `decision`."""
        if self._store is not None:
            return await self._store.session(session_id)
        if session_id in self._held:
            self._held.move_to_end(session_id)
        return self._held.get(session_id)

    async def keep(self, session_id: str, about: Mapping[str, Any]) -> None:
        """Keep what an answer says of itself as the session's last."""
        kept = {"model": about["model"], "decision": about["decision"]}
        if self._store is not None:
            await self._store.keep_session(session_id, kept)
            return
        self._held[session_id] = kept
        self._held.move_to_end(session_id)
        while len(self._held) > self._most:
            self._held.popitem(last=False)


def session_id(key_name: str | None, session: str) -> str:
    """Names a session of one client; another client's session of the same name is another one."""
    return hashlib.sha256(f"{key_name or ''}\0{session}".encode()).hexdigest()


def resumed(messages: Sequence[BaseMessage], about: Mapping[str, Any] | None) -> list[BaseMessage]:
    """The messages, the last answer among them saying of itself what the session kept; clients do not send it back."""
    resumed = list(messages)
    for index in range(len(resumed) - 1, -1, -1):
        message = resumed[index]
        if about is not None and isinstance(message, AIMessage):
            metadata = {**message.response_metadata, "avengers": dict(about)}
            resumed[index] = message.model_copy(update={"response_metadata": metadata})
            break
    return resumed
