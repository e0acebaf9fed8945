"""Progress of a calibration, drawn while it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_avengers.calibration.run import Calibration


class Bars:
    """A bar a model, redrawn from the runner's counters by a thread of rich's."""

    def __init__(self, run: Calibration, quiet: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        self.run, self.live = run, None
        self.started: dict[str, float] = {}
        if console.is_terminal and not quiet:
            self.live = Live(get_renderable=self.draw, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> None:
        if self.live:
            self.live.start()

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def draw(self) -> Any:
        """The table of bars as it stands."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table("model", "", "answers", "rate", "left", "cost", "", box=None, padding=(0, 1))
        now = time.monotonic()
        for name, state in self.run.progress.items():
            start = self.started.setdefault(name, now)
            rate = state.fresh / max(now - start, 1e-9)
            left = f"{(state.total - state.done) / rate:.0f} s" if rate > 0 and now - start > 1 else "-"
            table.add_row(
                name,
                ProgressBar(total=max(state.total, 1), completed=state.done, width=30),
                f"{state.done}/{state.total}",
                f"{rate:.1f}/s",
                left,
                f"${state.cost:.4f}",
                (f"{state.failed} failed; " if state.failed else "") + state.note[:60],
            )
        return table
