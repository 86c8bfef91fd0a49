"""A state as word, sign and colour; and remarks that need attention."""

from __future__ import annotations

from typing import Literal

from nicegui import ui

Kind = Literal["good", "warn", "bad", "none"]
ICONS: dict[Kind, str] = {"good": "check_circle", "warn": "error", "bad": "cancel", "none": "help"}
CONDITIONS: dict[str, tuple[Kind, str]] = {
    "online": ("good", "Online"),
    "degraded": ("warn", "Degraded"),
    "offline": ("bad", "Offline"),
    "unknown": ("none", "Unknown"),
}
QUALITIES: dict[str, tuple[Kind, str]] = {
    "good": ("good", "Good"),
    "stale": ("warn", "Stale"),
    "implausible": ("bad", "Implausible"),
    "unverified": ("warn", "Unverified"),
    "offline": ("bad", "Device offline"),
}


class Badge:
    """Shows one state; changes in place."""

    def __init__(self) -> None:
        with ui.element("span").classes("wb-badge") as self._frame:
            self._icon = ui.icon("help", size="16px").props("aria-hidden=true")
            self._label = ui.label()
            self._tooltip: ui.tooltip | None = None
        self._shown: tuple[Kind, str] | None = None

    def show(self, kind: Kind, word: str) -> None:
        if self._shown != (kind, word):
            self._shown = (kind, word)
            self._frame.classes(add=f"wb-{kind}", remove=" ".join(f"wb-{other}" for other in ICONS if other != kind))
            self._icon.name = ICONS[kind]
            self._label.text = word

    def condition(self, condition: str) -> None:
        """Of a service."""
        self.show(*CONDITIONS.get(condition, ("none", condition)))

    def quality(self, quality: str | None) -> None:
        """Of a value."""
        self.show(*QUALITIES.get(quality or "good", ("warn", str(quality))))

    def tell(self, text: str) -> None:
        """More words when a person points at it."""
        if self._tooltip is None:
            with self._frame:
                self._tooltip = ui.tooltip(text)
        elif self._tooltip.text != text:
            self._tooltip.text = text

    def hide(self, hidden: bool = True) -> None:
        self._frame.visible = not hidden


class Note:
    """A remark in plain words, or nothing."""

    def __init__(self, kind: Kind = "warn") -> None:
        with ui.row().classes(f"wb-note wb-{kind}").props("role=status") as self._frame:
            ui.icon(ICONS[kind] if kind != "none" else "info", size="20px").props("aria-hidden=true")
            self._label = ui.label().classes("min-w-0")
        self._frame.visible = False

    def say(self, text: str) -> None:
        """Say this; nothing when it is empty."""
        if self._label.text != text:
            self._label.text = text
        if self._frame.visible != bool(text):
            self._frame.visible = bool(text)
