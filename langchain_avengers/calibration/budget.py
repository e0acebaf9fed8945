"""What a run may spend: its own requests, those on their way, and what other runners spend on the same store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_avengers.calibration.store import Store

_LOOK = 0.5
"""Seconds between two looks at what other runners have spent."""


class Budget:
    """US dollars that a store may come to.

    Args:
        store: The store.
        run_id: This run.
        limit: US dollars; None for no limit.
    """

    def __init__(self, store: Store, run_id: int, limit: float | None) -> None:
        """Start with nothing spent; `look` sees what was spent before."""
        self.limit = limit
        self._store, self._run_id = store, run_id
        self._spent = self._graded = self._on_their_way = self._others = 0.0
        self._others_in_flight = 0

    async def look(self) -> None:
        """See what the store has cost beside what this run spends itself."""
        graded = self._graded
        cost, self._others_in_flight = await asyncio.to_thread(self._store.spent_by_others, self._run_id)
        self._others = cost - graded

    async def look_again(self) -> None:
        """Look at other runners again and again."""
        while True:
            await asyncio.sleep(_LOOK)
            if await asyncio.to_thread(self._store.others_at_work, self._run_id):
                await self.look()

    def reserve(self, estimate: float) -> bool:
        """Set aside what a request will come to; False when the budget does not allow it."""
        if self.limit is not None:
            theirs = self._others + self._others_in_flight * estimate
            if self._spent + theirs + self._on_their_way + estimate > self.limit:
                return False
        self._on_their_way += estimate
        return True

    def settle(self, estimate: float, cost: float) -> None:
        """A request has ended: its estimate is replaced by its cost."""
        self._on_their_way -= estimate
        self._spent += cost

    def add_grading(self, cost: float) -> None:
        """A grader told what its grading has cost."""
        self._spent += cost
        self._graded += cost
