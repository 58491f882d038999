"""What an evaluation is asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from difffae.controls import Light
from difffae.face.parameters import Motion
from difffae.metrics.outputs import CrossSettings, ProtocolName
from difffae.runtime.network import Precision, RuntimeName

FACEMESH_TRACKER = "facemesh"
NO_MODEL = "none"
# What may be asked for, and the protocols that each stands for.
PROTOCOLS: dict[str, tuple[ProtocolName, ...]] = {
    "self": ("self",),
    "cross": ("cross",),
    "light": ("light", "relight"),
    "disentanglement": ("disentanglement",),
    "both": ("self", "cross"),
    "all": ("self", "cross", "light", "relight", "disentanglement"),
}


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What to measure, and with what.

    Attributes:
        model: a bundled name, a folder, or "none": floors and external rows only.
        device, runtime: where and how the networks run.
        precision: of the networks; with several, each has rows, compared with the first one's.
        clips, csv, split: which people.
        steps: sampler steps of the model's rows.
        protocol: names of PROTOCOLS, separated by commas.
        motion, light: of the cross protocol: what is carried over.
        max_frames: a clip, in neighbouring pairs spread over it.
        max_clips: the first ones of the split only.
        seed: draws the pairs of strangers and the subsets of KID.
        external: folders of videos made elsewhere, by row name.
        tracker: "facemesh", or the YAML of a model whose rig reads APD, AED and ALD.
        weights_embedder: an ONNX file, or a pack of insightface.
        weights_features: SqueezeNet 1.1.
        weights_inception: FID's Inception-v3, the user's file.
        weights_lpips: LPIPS on AlexNet, the user's file.
        output: folder of the report.
        grid_rows: people in a grid of pictures.
    """

    model: str = "lite-256"
    device: str = "cpu"
    runtime: RuntimeName = "auto"
    precision: tuple[Precision, ...] = ("auto",)
    clips: Path
    csv: Path
    split: str = "val"
    steps: tuple[int, ...] = (1, 2, 4)
    protocol: str = "both"
    motion: Motion = "relative"
    light: Light = "source"
    max_frames: int = 60
    max_clips: int | None = None
    seed: int = 0
    external: dict[str, Path] = field(default_factory=dict)
    tracker: str = FACEMESH_TRACKER
    weights_embedder: str | None = None
    weights_features: Path | None = None
    weights_inception: Path | None = None
    weights_lpips: Path | None = None
    output: Path = Path("runs/evaluate")
    grid_rows: int = 12

    def __post_init__(self) -> None:
        """Refuse what measures nothing.

        Raises:
            ValueError: no frames, steps or protocol, edits without a model to edit with, or
                external videos that no protocol shows.
        """
        if self.max_frames < 2 or any(count < 1 for count in self.steps):
            raise ValueError(
                f"Got {self.max_frames=} and {self.steps=}; expected at least 2 frames and 1 step"
            )
        others = [name for name in self.precision if name not in get_args(Precision)]
        if others or len(set(self.precision)) != len(self.precision) or not self.precision:
            raise ValueError(
                f"Got precision {','.join(self.precision)!r}; expected some of "
                f"{', '.join(get_args(Precision))}, each once, separated by commas"
            )
        unknown = [name for name in self.protocol.split(",") if name not in PROTOCOLS]
        if unknown:
            raise ValueError(
                f"Got protocol {unknown[0]!r}; expected some of {', '.join(PROTOCOLS)}, separated "
                "by commas"
            )
        if self.external and not {"self", "cross"}.intersection(self.protocols):
            raise ValueError(
                f"Got external videos for protocol {self.protocol}, which shows no videos: choose "
                "self or cross for them"
            )
        edits = {"light", "disentanglement"}.intersection(self.protocols)
        if self.model == NO_MODEL and edits:
            raise ValueError(
                f"Got no model for protocol {sorted(edits)[0]}, which edits by one: give --model, "
                "or choose self and cross"
            )

    @property
    def protocols(self) -> tuple[ProtocolName, ...]:
        """The protocols asked for, each once, in the order of a report."""
        wanted = {each for name in self.protocol.split(",") for each in PROTOCOLS[name]}
        return tuple(name for name in PROTOCOLS["all"] if name in wanted)

    @property
    def cross(self) -> CrossSettings:
        """How strangers are driven."""
        return CrossSettings(motion=self.motion, light=self.light)
