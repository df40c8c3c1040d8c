"""The kernel's numbers of keys, by their names without ``KEY_``, in lower case (``linux/input-event-codes.h``)."""

from __future__ import annotations

__all__ = ["KEY_CODES", "LAST_KEY"]

LAST_KEY = 0x2FF

_ROWS = {1: "esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab", 16: "q w e r t y u i o p leftbrace rightbrace enter"}
_ROWS |= {29: "leftctrl a s d f g h j k l semicolon apostrophe grave leftshift backslash z x c v b n m comma dot slash"}
_ROWS |= {54: "rightshift kpasterisk leftalt space capslock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 numlock scrolllock"}
_ROWS |= {71: "kp7 kp8 kp9 kpminus kp4 kp5 kp6 kpplus kp1 kp2 kp3 kp0 kpdot", 86: "102nd f11 f12"}
_ROWS |= {96: "kpenter rightctrl kpslash sysrq rightalt linefeed home up pageup left right end down pagedown insert"}
_ROWS |= {111: "delete macro mute volumedown volumeup power", 119: "pause", 125: "leftmeta rightmeta compose stop"}
_ROWS |= {142: "sleep wakeup", 148: "prog1 prog2", 163: "nextsong playpause previoussong stopcd", 169: "phone"}
_ROWS |= {183: "f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24", 207: "play", 226: "media", 248: "micmute"}
_ROWS |= {256: "btn_0 btn_1 btn_2 btn_3 btn_4", 272: "btn_left btn_right btn_middle btn_side btn_extra"}
_ROWS |= {304: "btn_south btn_east", 353: "select", 582: "voicecommand assistant"}

KEY_CODES = {name: first + place for first, row in _ROWS.items() for place, name in enumerate(row.split())}
