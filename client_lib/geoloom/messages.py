"""What went wrong, and what functions printed, in words at the lower edge of the map."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from html import escape

import ipywidgets

from geoloom.wording import as_html, one_line

MOST = 8
"""How many problems are shown at once, and how many prints; the newest stay."""

KEPT = 100
"""How many of each are kept: a function may print something else for every tile."""

STYLE = "background:#fff;color:#7a0010;padding:4px 8px;font-size:12px;line-height:1.4;overflow-wrap:anywhere"
HEIGHT = "220px"
"""Beyond it the messages scroll; they shall not hide the map."""


@dataclass(frozen=True, slots=True)
class _Message:
    """One message: who it is from, in words; `quiet` ones are no problems."""

    source: str
    text: str
    titled: bool
    quiet: bool

    def html(self) -> str:
        name = f"<b>{escape(one_line(self.source, 100))}</b>" if self.titled else ""
        if self.quiet:
            return f'<div class="geoloom-message" style="color:#222">{name} {as_html(self.text)}</div>'
        return f'<div class="geoloom-message">⚠ {name}{": " if name else ""}{as_html(self.text)}</div>'


class Messages(ipywidgets.HBox):
    """Messages by their source, each said once; invisible while there are none."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, Hashable], _Message] = {}
        # The messages scroll, and the button stays.
        self.board = ipywidgets.HTML(
            layout=ipywidgets.Layout(
                flex="1 1 auto", min_width="0", margin="0", max_height=HEIGHT, overflow="hidden auto"
            )
        )
        self.dismiss = ipywidgets.Button(
            icon="times",
            tooltip="Take these messages away",
            style={"button_color": "#fff", "text_color": "#7a0010"},
            layout=ipywidgets.Layout(flex="0 0 24px", width="24px", height="auto", padding="0", margin="0"),
        )
        self.dismiss.on_click(lambda _: self.unsay())
        layout = ipywidgets.Layout(display="none", max_width="480px", border_left="4px solid #b00020")
        super().__init__([self.board, self.dismiss], layout=layout)
        self.add_class("geoloom-messages")

    @property
    def texts(self) -> tuple[str, ...]:
        """The messages, oldest first."""
        return tuple(message.text for message in self._said.values())

    def say(
        self,
        source: str,
        text: str,
        *,
        titled: bool = True,
        about: Hashable = None,
        quiet: bool = False,
        again: bool = False,
    ) -> None:
        """Show a message, unless it is there already.

        Parameters
        ----------
        source
            Who it is from; `titled` ones begin with it.
        text
            Lines that begin with four spaces are code.
        about
            What it is about: a message about the same is replaced. The text itself by default.
        quiet
            Whether it is no problem.
        again
            Whether it was said before: what the person took away does not come back.
        """
        place = source, text if about is None else about
        message = _Message(source, text, titled, quiet)
        if self._said.get(place) == message or (again and place not in self._said):
            return
        self._said[place] = message
        same = [one for one, said in self._said.items() if said.quiet == quiet]
        for one in same[:-KEPT]:
            del self._said[one]
        self._write()

    def unsay(self, source: str | None = None) -> None:
        """Take the messages of one source away, or all."""
        kept = {place: said for place, said in self._said.items() if source not in (None, place[0])}
        if len(kept) != len(self._said):
            self._said = kept
            self._write()

    def _write(self) -> None:
        # Prints may be many: they stand apart, so that they push no problem out of sight.
        loud = [said for said in self._said.values() if not said.quiet][-MOST:]
        quiet = [said for said in self._said.values() if said.quiet][-MOST:]
        lines = "".join(said.html() for said in (*loud, *quiet))
        self.board.value = f'<div style="{STYLE}">{lines}</div>' if lines else ""
        colour = "#b00020" if loud else "#8a8a8a"
        self.layout.border_left = f"4px solid {colour}"
        self.layout.display = None if lines else "none"
