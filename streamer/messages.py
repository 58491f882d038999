"""The data channel's messages from a client: text in, a typed message or a typed error out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from streamer.errors import StreamerError
from streamer.live import ReferenceAction

MessageId = int | str | None
RecordingView = Literal["edited", "side_by_side"]
RecordingAction = Literal["start", "stop"]
SoundAction = Literal["on", "off"]
MAX_ID_LENGTH = 64
_ACTIONS: Mapping[str, tuple[str, ...]] = {
    "reference": get_args(ReferenceAction),
    "recording": get_args(RecordingAction),
    "sound": get_args(SoundAction),
}
TYPES = ("set", "reference", "portrait", "recording", "sound", "ping")


class MessageError(StreamerError):
    """A message that cannot be followed.

    Args:
        code: for programs.
        sentence: for people.
        identifier: of the message, where it could be read.
    """

    def __init__(self, code: str, sentence: str, identifier: MessageId = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.identifier = identifier


@dataclass(frozen=True, kw_only=True)
class Set:
    """Change some controls, all or none."""

    controls: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Where relative motion is measured from."""

    action: ReferenceAction


@dataclass(frozen=True, kw_only=True)
class UsePortrait:
    """Show another portrait, without a break."""

    portrait: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """Start or stop recording; the view counts at the start."""

    action: RecordingAction
    view: RecordingView = "edited"


@dataclass(frozen=True, kw_only=True)
class Sound:
    """Whether the client's sound goes back to it; recordings and viewers have it all the same."""

    action: SoundAction


@dataclass(frozen=True, kw_only=True)
class Ping:
    """Answered at once; the time comes back as it was."""

    time: float


Content = Set | Reference | UsePortrait | Record | Sound | Ping


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message and the id that its answer bears."""

    identifier: MessageId
    content: Content


def read_message(text: str | bytes, *, max_bytes: int) -> Message:
    """The message, checked in every part.

    Raises:
        MessageError: with code too_large, not_text, not_json, bad_message or unknown_type.
    """
    if not isinstance(text, str):
        raise MessageError("not_text", "messages are JSON text, not bytes")
    if len(text) > max_bytes or len(text.encode(errors="replace")) > max_bytes:
        raise MessageError("too_large", f"a message can have at most {max_bytes} bytes")
    values = read_json_object(text)
    identifier = _identifier(values.pop("id", None))
    kind = values.pop("type", None)
    if not isinstance(kind, str) or kind not in TYPES:
        raise MessageError(
            "unknown_type", f"the type of a message is one of {', '.join(TYPES)}", identifier
        )
    return Message(identifier=identifier, content=_content(kind, values, identifier))


def read_json_object(text: str) -> dict[str, Any]:
    """A JSON object; NaN, infinities, numbers without end and deep nesting are refused.

    Raises:
        MessageError: with code not_json or bad_message.
    """
    try:
        values = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError("not_json", "this is not JSON") from error
    if not isinstance(values, dict):
        raise MessageError("bad_message", "expected a JSON object")
    return values


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _identifier(value: object) -> MessageId:
    is_short = isinstance(value, str) and len(value) <= MAX_ID_LENGTH
    is_number = type(value) is int and abs(value) < 2**53
    if value is None or is_short or is_number:
        return value  # type: ignore[return-value]
    raise MessageError("bad_message", "an id is a whole number or a short text")


def _content(kind: str, values: dict[str, Any], identifier: MessageId) -> Content:
    def take(name: str, wanted: str, is_good: bool) -> Any:
        if not is_good or set(values) != {name}:
            raise MessageError(
                "bad_message", f"a {kind} message has {name}, {wanted}, and no more", identifier
            )
        return values[name]

    if kind == "set":
        controls = values.get("controls")
        return Set(controls=take("controls", "an object", isinstance(controls, dict)))
    if kind == "portrait":
        name = values.get("portrait")
        is_good = isinstance(name, str) and len(name) <= MAX_ID_LENGTH
        return UsePortrait(portrait=take("portrait", "an id", is_good))
    if kind == "ping":
        time = values.get("time")
        is_number = isinstance(time, int | float) and not isinstance(time, bool)
        is_good = is_number and -(2**53) < values["time"] < 2**53
        return Ping(time=take("time", "a number", is_good))
    view = _view(values, identifier) if kind == "recording" else "edited"
    action, actions = values.get("action"), _ACTIONS[kind]
    is_good = isinstance(action, str) and action in actions
    chosen = take("action", f"one of {', '.join(actions)}", is_good)
    if kind == "reference":
        return Reference(action=chosen)
    return Sound(action=chosen) if kind == "sound" else Record(action=chosen, view=view)


def _view(values: dict[str, Any], identifier: MessageId) -> RecordingView:
    """The view of a recording that starts, taken out of the message."""
    if values.get("action") != "start":
        return "edited"
    view = values.pop("view", "edited")
    if not isinstance(view, str) or view not in get_args(RecordingView):
        raise MessageError(
            "bad_message", f"view is one of {', '.join(get_args(RecordingView))}", identifier
        )
    return view  # type: ignore[return-value]
