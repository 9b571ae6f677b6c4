"""What went wrong, in words, at the lower edge of the map."""

from __future__ import annotations

from html import escape

import ipywidgets

MOST = 8
"""How many messages are shown at once; the newest stay."""

STYLE = (
    "background:rgba(255,255,255,.95);color:#7a0010;padding:4px 8px;"
    "font-size:12px;line-height:1.4;overflow-wrap:anywhere"
)


class Messages(ipywidgets.HBox):
    """Messages by their source, each said once; invisible while there are none."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], bool] = {}
        self.board = ipywidgets.HTML(layout=ipywidgets.Layout(flex="1 1 auto", margin="0"))
        self.dismiss = ipywidgets.Button(
            icon="times",
            tooltip="Take these messages away",
            style={"button_color": "rgba(255,255,255,.95)", "text_color": "#7a0010"},
            layout=ipywidgets.Layout(width="24px", height="auto", padding="0", margin="0"),
        )
        self.dismiss.on_click(lambda _: self.unsay())
        layout = ipywidgets.Layout(display="none", max_width="480px", border_left="4px solid #b00020")
        super().__init__([self.board, self.dismiss], layout=layout)
        self.add_class("geoloom-messages")

    @property
    def texts(self) -> tuple[str, ...]:
        """The messages, oldest first."""
        return tuple(text for _, text in self._said)

    def say(self, source: str, text: str, *, titled: bool = True) -> None:
        """Show a message, unless it is there already; `titled` ones begin with their source."""
        if (source, text) not in self._said:
            self._said[source, text] = titled
            self._write()

    def unsay(self, source: str | None = None) -> None:
        """Take the messages of one source away, or all."""
        kept = {pair: titled for pair, titled in self._said.items() if source not in (None, pair[0])}
        if len(kept) != len(self._said):
            self._said = kept
            self._write()

    def _write(self) -> None:
        lines = []
        for (source, text), titled in list(self._said.items())[-MOST:]:
            name = f"<b>{escape(source)}</b>: " if titled else ""
            lines.append(f'<div class="geoloom-message">⚠ {name}{escape(text)}</div>')
        self.board.value = f'<div style="{STYLE}">{"".join(lines)}</div>' if lines else ""
        self.layout.display = None if lines else "none"
