"""What the demo prints: one line per check, a table, and failures a person can act on."""

import os
import shutil
import sys
import textwrap
import time
from dataclasses import dataclass, field

from wire import Failed

WIDTH = 100
NAME_WIDTH = 14
DETAIL_AT = 8 + NAME_WIDTH + 2
DETAIL_WIDTH = WIDTH - DETAIL_AT - 9
COLOURS = {"ok": "32", "FAIL": "1;31", "skip": "33", "bold": "1", "dim": "2"}


@dataclass
class Outcome:
    """How one check ended."""

    server: str
    check: str
    status: str  # ok, FAIL or skip
    seconds: float = 0
    detail: str = ""
    notes: list[str] = field(default_factory=list)
    failure: Failed | None = None
    stderr: list[str] = field(default_factory=list)


class Report:
    def __init__(self) -> None:
        terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.is_live = terminal
        self.is_coloured = terminal and "NO_COLOR" not in os.environ
        self.last_progress = 0.0

    def paint(self, text: str, colour: str) -> str:
        return f"\033[{COLOURS[colour]}m{text}\033[0m" if self.is_coloured else text

    def line(self, text: str = "") -> None:
        self.wipe()
        print(text, flush=True)

    def wipe(self) -> None:
        if self.is_live:
            print("\r\033[K", end="", flush=True)

    def progress(self, check: str, text: str, began: float) -> None:
        """On a terminal one line that rewrites itself; elsewhere a line every two seconds."""
        now = time.monotonic()
        text = f"  ...   {check:{NAME_WIDTH}}  {text}"[: WIDTH - 11]
        text = f"{text:{WIDTH - 10}}{now - began:7.1f} s"
        if self.is_live:
            fitting = text[: shutil.get_terminal_size().columns]
            print("\r\033[K" + self.paint(fitting, "dim"), end="", flush=True)
        elif now - max(began, self.last_progress) >= 2:
            self.last_progress = now
            print(text, flush=True)

    def outcome(self, outcome: Outcome) -> None:
        detail = textwrap.wrap(outcome.detail, DETAIL_WIDTH) or [""]
        status = self.paint(f"{outcome.status:4}", outcome.status)
        seconds = f"{outcome.seconds:7.2f} s" if outcome.status != "skip" else ""
        self.line(f"  {status}  {outcome.check:{NAME_WIDTH}}  "
                  f"{detail[0]:{DETAIL_WIDTH}}{seconds}".rstrip())
        for text in detail[1:] + outcome.notes:
            self.line(" " * DETAIL_AT + text)

    def section(self, name: str, about: str) -> None:
        self.line()
        self.line(f"{self.paint(name, 'bold')}  {about}")

    def table(self, columns: list[str], rows: dict[str, list[str]]) -> None:
        label_width = max(map(len, rows)) + 2
        cell_width = min(22, (WIDTH - 2 - label_width) // len(columns))
        self.line()
        heads = "".join(f"{name:>{cell_width}}" for name in columns)
        self.line("  " + " " * label_width + self.paint(heads, "bold"))
        self.line("  " + "-" * (label_width + cell_width * len(columns)))
        for label, cells in rows.items():
            self.line(f"  {label:{label_width}}" + "".join(f"{c:>{cell_width}}" for c in cells))

    def failure(self, outcome: Outcome, again: str) -> None:
        self.line()
        self.line(self.paint(f"FAILED  {outcome.server} / {outcome.check}", "FAIL"))
        failure = outcome.failure
        rows = [("did", failure.did), ("expected", failure.expected), ("got", failure.got)]
        for label, text in rows:
            self.field(label, textwrap.wrap(text, WIDTH - 12))
        self.field("stderr", outcome.stderr or ["(nothing)"])
        self.field("again", [again])

    def field(self, label: str, lines: list[str]) -> None:
        for number, text in enumerate(lines or [""]):
            self.line(f"  {label if number == 0 else '':8}  {text}")

    def verdict(self, outcomes: list[Outcome], seconds: float) -> None:
        failed = sum(o.status == "FAIL" for o in outcomes)
        skipped = sum(o.status == "skip" for o in outcomes)
        self.line()
        also = f", {skipped} not run" if skipped else ""
        if not failed:
            passed = self.paint(f"All {len(outcomes) - skipped} checks passed", "ok")
            self.line(f"{passed}{also}; {seconds:.1f} s.")
            return
        self.line(self.paint(f"{failed} of {len(outcomes)} checks failed", "FAIL")
                  + f"{also}; {seconds:.1f} s.")
