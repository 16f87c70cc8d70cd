"""Asks the person at the terminal what a run asks, while the run goes on."""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from joinery.errors import Conflict, JoineryError
from joinery.workflow.answers import answer_errors
from joinery_cli.engines.base import Engine
from joinery_cli.live.state import RunState
from joinery_cli.live.views import View
from joinery_cli.output import clean, say, write

Place = tuple[str, str]
"""A node and its path."""

LINE_CHARS: Final = 65_536


def parse_answer(text: str, asked: Mapping[str, Any]) -> Any:
    """Returns what a person typed as the value that a question takes.

    Args:
        text: The line.
        asked: The question's `options` and `schema`. What has a schema is JSON, or else text;
            text alone where only text may be answered. An option may be said by its number.
    """
    options = asked.get("options")
    if options:
        names = list(options)
        said = text.strip()
        if said.isdecimal() and said not in options and 0 < int(said) <= len(names):
            return names[int(said) - 1]
        return said
    schema = asked.get("schema")
    if schema is None or schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_line() -> str | None:
    """Returns a line from the terminal if there is one, "" at its end, None if there is none."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return sys.stdin.readline(LINE_CHARS) if ready else None


class Asker:
    """Asks one question after the other.

    Args:
        engine: The run.
        view: What shows it; it makes room for the question.
        read: Returns what was typed, without waiting for it.
    """

    def __init__(
        self, engine: Engine, view: View, read: Callable[[], str | None] = read_line
    ) -> None:
        self._engine, self._view, self._read = engine, view, read
        self._place: Place | None = None
        self._over = False

    def ask(self, state: RunState) -> bool:
        """Goes on with asking; call it many times a second.

        Returns:
            Whether a question is open here: nothing else may be drawn.
        """
        if self._place is not None and self._place not in state.asked:
            if not state.ended:
                say("this question is answered or over")
            self._place = None
        if self._over or not state.asked:
            return False
        if self._place is None:
            self._place = next(iter(state.asked))
            self._view.rest()
            self._show(state, self._place)
        line = self._read()
        if line == "":
            say("no more can be typed here")
            self._over = True
        elif line is not None:
            self._take(state, self._place, line.rstrip("\r\n"))
        return not self._over

    def _show(self, state: RunState, place: Place) -> None:
        asked, (node_id, path) = state.asked[place], place
        where = f"{state.title(node_id)}{f' #{path}' if path else ''}"
        say(f"{where} asks: {asked['prompt']}")
        for number, (name, text) in enumerate((asked.get("options") or {}).items(), 1):
            say(f"  {number}. {name}" + (f"  {text}" if text != name else ""))
        if asked.get("schema"):
            say(f"the answer is JSON: {json.dumps(asked['schema'], ensure_ascii=False)}")
        if "default" in asked:
            say(f"without an answer: {json.dumps(asked['default'], ensure_ascii=False)}")
        self._prompt()

    @staticmethod
    def _prompt() -> None:
        write(sys.stderr, clean("> "))

    def _take(self, state: RunState, place: Place, line: str) -> None:
        """Sends an answer; asks again where it cannot be one."""
        asked = state.asked[place]
        value = parse_answer(line, asked)
        wrong = answer_errors(value, asked.get("options"), asked.get("schema"))
        try:
            if wrong:
                say("; ".join(row["message"] for row in wrong))
            else:
                self._engine.answer(*place, value)
                state.asked.pop(place)
                self._place = None
                return
        except Conflict as error:
            # Somebody was faster, or time was; the run's events will tell of it.
            say(f"error: {error.message}")
            state.asked.pop(place)
            self._place = None
            return
        except JoineryError as error:
            say(f"error: {error.message}")
        self._prompt()
