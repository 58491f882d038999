"""What a person agrees to before a portrait is sent or a session begins, and the record of it."""

import asyncio
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from pathlib import Path

from streamer.errors import OutputError

CONSENT_TEXT = (
    "I am allowed to use this portrait: it shows me, or a person who agreed to this use, or "
    "nobody real. I will not use the result to deceive or to harm anyone, and I will not remove "
    "the label that says the video is made by AI. My camera picture is processed on this server "
    "and not kept, save in a recording that I start myself. The server records when the session "
    "began and ended, from which address, and a fingerprint of the portrait."
)
CONSENT_SHA256 = hashlib.sha256(CONSENT_TEXT.encode()).hexdigest()


def is_consent(given: object) -> bool:
    """Whether this is the hash of the text as it reads today."""
    if not isinstance(given, str):
        return False
    return hmac.compare_digest(given.encode(errors="replace"), CONSENT_SHA256.encode())


class SessionLog:
    """Appends one JSON line for each event to sessions.jsonl; never rewrites any.

    Args:
        folder: made when it is missing; readable by its owner only.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sessions.jsonl"
        self._turn = asyncio.Lock()

    def prepare(self) -> None:
        """Make the folder and see that the file can be written.

        Raises:
            OutputError: it cannot.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(self._open())
        except OSError as error:
            raise OutputError(
                f"cannot write session records to {self.path}: {error.strerror}; "
                "choose another --log_folder"
            ) from error

    async def write(self, entry: Mapping[str, object]) -> None:
        """Append an entry.

        Raises:
            OutputError: the disk is full, or the file was taken away.
        """
        line = json.dumps(entry, ensure_ascii=True, sort_keys=True) + "\n"
        async with self._turn:
            try:
                await asyncio.to_thread(self._append, line.encode())
            except OSError as error:
                raise OutputError(f"cannot write the session record: {error.strerror}") from error

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def _append(self, line: bytes) -> None:
        file = self._open()
        try:
            os.write(file, line)
        finally:
            os.close(file)
