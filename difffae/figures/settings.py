"""What figures are asked for."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from difffae.checkpoint import sha256
from difffae.loading import find_folder
from difffae.metrics.settings import EvaluateConfig
from difffae.runtime.network import RuntimeName

Part = Literal["evaluation", "grids", "contact", "fairness", "card"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True)
class FiguresConfig:
    """What to make, of what and where.

    Attributes:
        parts: which.
        model: a bundled name or a folder.
        device, runtime: where and how the networks run.
        data: folder with clips, clips.csv, stills and weights.
        docs: folder of what is committed.
        work: folder of what is not: reports as JSON.
        split: the people who drive and are measured.
        steps: of the sampler.
        max_frames: of a clip that the evaluation measures.
        num_stills: of each still set that fairness measures, taken at even steps.
        seed: of every draw.
    """

    parts: tuple[Part, ...] = PARTS
    model: str = "lite-256"
    device: str = "cpu"
    runtime: RuntimeName = "auto"
    data: Path
    docs: Path = Path("docs")
    work: Path = Path("runs/figures")
    split: str = "val"
    steps: int = 1
    max_frames: int = 16
    num_stills: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what makes nothing.

        Raises:
            ValueError: an unknown part, or none.
        """
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown or not self.parts:
            raise ValueError(
                f"Got parts {' '.join(self.parts) or 'none'}; expected some of {', '.join(PARTS)}"
            )

    @property
    def evaluation(self) -> EvaluateConfig:
        """The evaluation of the model on these people."""
        return EvaluateConfig(
            model=self.model,
            device=self.device,
            runtime=self.runtime,
            clips=self.data / "clips",
            csv=self.data / "clips.csv",
            split=self.split,
            steps=(self.steps,),
            max_frames=self.max_frames,
            seed=self.seed,
            weights_embedder=str(self.data / "weights" / "MobileFaceNet.onnx"),
            weights_features=self.data / "weights" / "squeezenet11.safetensors",
            output=self.work / "evaluation",
        )


def model_digest(model: str) -> str:
    """SHA-256 over a model's files, by which figures of other weights are told apart.

    Raises:
        WeightsError: there is no such model.
    """
    digest = hashlib.sha256()
    for path in sorted(find_folder(model).iterdir()):
        digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()
