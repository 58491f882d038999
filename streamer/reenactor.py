"""What moving frames needs of a model, as the rest of streamer sees it."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from streamer.attributes import Place
from streamer.controls import LiveControls

if TYPE_CHECKING:
    from streamer.engine import Controls, Donor, Prepared, Reenacted, Source, StreamState, Trail


class Reenactor(Protocol):
    """What moves frames needs of a model; `difffae.pipeline.Pipeline` is one.

    Every image is (H, W, 3) uint8 RGB; state goes in and comes back out.
    """

    def encode_source(self, image: NDArray[np.uint8], *, face: int | None = None) -> "Source":
        """Everything computed once of a portrait; `face` counts from 1, left to right."""
        ...

    def open_stream(self, source: "Source", controls: "Controls") -> "StreamState":
        """The state before the first frame."""
        ...

    def restart(self, state: "StreamState") -> "StreamState":
        """The state of the same person, with motion measured anew from the next frame."""
        ...

    def look_around(self, frame: NDArray[np.uint8], state: "StreamState") -> "StreamState":
        """The state with a note of who else is in the frame that was just processed."""
        ...

    def choose_reference(
        self, frames: Iterable[NDArray[np.uint8]], source: "Source", controls: "Controls"
    ) -> NDArray[np.uint8]:
        """The frame nearest the portrait's own expression and pose."""
        ...

    def set_reference(
        self, frame: NDArray[np.uint8], source: "Source", state: "StreamState"
    ) -> "StreamState":
        """The state with relative motion measured from that frame."""
        ...

    def prepare(
        self,
        frame: NDArray[np.uint8],
        source: "Source",
        state: "StreamState",
        controls: "Controls",
    ) -> tuple["Prepared", "StreamState"]:
        """All of a frame's work that the next frame waits for."""
        ...

    def paint(
        self,
        prepared: "Prepared",
        source: "Source",
        controls: "Controls",
        trail: "Trail | None" = None,
    ) -> "Reenacted":
        """The portrait as the frame's face moves it; may run beside the next `prepare`.

        The trail is of the frame painted before, which a warm start begins with.
        """
        ...

    def skip(
        self,
        frame: NDArray[np.uint8],
        source: "Source",
        state: "StreamState",
        controls: "Controls",
    ) -> "StreamState":
        """The state after that frame, without making its picture."""
        ...

    def still(self, source: "Source", controls: "Controls") -> "Reenacted":
        """The portrait as the controls' edit alone has it, without a driver."""
        ...

    def donor(self, source: "Source", state: "StreamState | None" = None) -> "Donor":
        """A portrait's face to take attributes from, or that which a stream has moved it to."""
        ...


class Dresser(Protocol):
    """Dresses portraits, in other backgrounds too; `streamer.engine.make_dresser` makes one."""

    def __call__(
        self,
        source: "Source",
        controls: LiveControls,
        given: Mapping[Place, "NDArray[np.uint8] | Source"],
    ) -> "Source":
        """The same portrait with what is worn, and what is behind, exchanged.

        Args:
            source: as `Reenactor.encode_source` gives it.
            controls: which say by how much, and name colours and blurs.
            given: whose hair, clothes and background are taken: portraits; a background may be a
                picture of any size too. It goes before colours and blurs.

        Raises:
            ControlError: the model cannot swap this.
        """
        ...
