"""The command that prepares a model for 8-bit integers: real frames in, int8.safetensors out.

`python -m difffae.calibrate --model lite-256` runs the model over frames of people it was trained
on, lets NNCF find the ranges of each network's tensors on most of them, and compares the pictures
of people held back with those in fp32. A network whose pictures differ too much is left out, or
all are. Kept are ranges of numbers; no picture, and no part of one. Needs NNCF; running does not.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from difffae.arrays import ImageU8
from difffae.config import ModelConfig, read_model_config
from difffae.controls import Controls
from difffae.data.split import Clip, read_clips, read_frames
from difffae.face.crop import crop
from difffae.face.renderer import Condition
from difffae.face.tracker import FaceNotFoundError, SeveralFacesError
from difffae.generator import Generator, Placement, SourceTokens, working_modules
from difffae.loading import find_folder, load_pipeline
from difffae.networks import load_networks
from difffae.pipeline import Pipeline
from difffae.runtime import Network
from difffae.runtime.calibration_file import save_calibrations
from difffae.runtime.int8 import calibrate_network
from difffae.runtime.quantization import Calibration

USER_ERROR = 2
# Errors of independent sources add: at 24.5 dB to the truth, which the bundled model reaches on
# unseen people, pictures 36 dB from fp32's cost 0.3 dB.
LOWEST_TOGETHER_DB = 36.0
LOWEST_ALONE_DB = 40.0
_HELD_BACK_EVERY = 4
_FRAME_STEP = 12
_STEPS = (1, 2, 4)

Inputs = tuple[Tensor, ...]
PicturesWith = Callable[[Mapping[str, Calibration]], list[ImageU8]]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One frame of a driver, as the networks are asked to paint it.

    Attributes:
        portrait: the source's crop, of the model's size.
        tokens: the source's.
        condition: the frame's.
        num_steps: of the sampler.
    """

    portrait: ImageU8
    tokens: SourceTokens
    condition: Condition
    num_steps: int

    def paint(self, generator: Generator) -> ImageU8:
        """The picture, all of it by the given networks."""
        tokens = replace(self.tokens, latent=generator.encode_latent(self.portrait))
        latent = generator.sample(self.condition, tokens, num_steps=self.num_steps, seed=0)
        return generator.decode(latent, self.condition).image


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate found.

    Attributes:
        alone_db: PSNR against fp32's pictures with that network alone in int8 [dB].
        together_db: the same with all that passed alone; NaN if none did.
        kept: the networks that may run in int8.
    """

    alone_db: Mapping[str, float]
    together_db: float
    kept: tuple[str, ...]


def judge(
    calibrations: Mapping[str, Calibration], pictures_with: PicturesWith, wanted: Sequence[ImageU8]
) -> Verdict:
    """Keep the networks whose pictures are as good as fp32's, alone and together.

    Args:
        calibrations: by network.
        pictures_with: the pictures of the held-back frames with some networks in int8.
        wanted: the same pictures in fp32.
    """
    alone_db = {
        name: picture_psnr_db(pictures_with({name: calibration}), wanted)
        for name, calibration in calibrations.items()
    }
    passed = {name: calibrations[name] for name, db in alone_db.items() if db >= LOWEST_ALONE_DB}
    if not passed:
        return Verdict(alone_db=alone_db, together_db=float("nan"), kept=())
    together_db = picture_psnr_db(pictures_with(passed), wanted)
    kept = tuple(passed) if together_db >= LOWEST_TOGETHER_DB else ()
    return Verdict(alone_db=alone_db, together_db=together_db, kept=kept)


def picture_psnr_db(got: Sequence[ImageU8], wanted: Sequence[ImageU8]) -> float:
    """PSNR of pictures over all their pixels [dB]; infinite where they are the same."""
    errors = [
        np.mean(np.square(ours.astype(np.float64) - theirs))
        for ours, theirs in zip(got, wanted, strict=True)
    ]
    error = float(np.mean(errors))
    return 10 * float(np.log10(255**2 / error)) if error > 0 else float("inf")


def moments(pipeline: Pipeline, clip: Clip, num_frames: int) -> Iterator[Moment]:
    """Frames of one clip that reenact its first, as `Pipeline.reenact` would.

    Raises:
        FaceNotFoundError: the first frame shows no face.
        SeveralFacesError: it shows several.
        ValueError: the video cannot be read.
    """
    frames = islice(read_frames(clip.path), num_frames * _FRAME_STEP)
    source = pipeline.encode_source(next(frames))
    portrait = crop(source.image, source.crop_box, pipeline.config.image_size)
    controls = Controls(motion="absolute")
    state = pipeline.open_stream(source, controls)
    for index, frame in enumerate(frames, start=1):
        condition, state = pipeline.condition(frame, source, state, controls)
        if index % _FRAME_STEP == _FRAME_STEP // 2:
            yield Moment(
                portrait=portrait,
                tokens=source.tokens,
                condition=condition,
                num_steps=_STEPS[index // _FRAME_STEP % len(_STEPS)],
            )


def record_inputs(
    config: ModelConfig, networks: Mapping[str, nn.Module], shown: Sequence[Moment]
) -> dict[str, list[Inputs]]:
    """What each network is given while moments are painted in fp32."""
    recorded: dict[str, list[Inputs]] = {name: [] for name in working_modules(networks)}

    def watched(name: str, network: Network) -> Network:
        def run(*given: Tensor) -> Tensor | tuple[Tensor, ...]:
            recorded[name].append(tuple(each.clone() for each in given))
            return network(*given)

        return run if name in recorded else network

    placement = Placement(runtime="eager", precision="fp32")
    generator = Generator(config, networks, placement=placement).watched(watched)
    for moment in shown:
        moment.paint(generator)
    return recorded


def calibrate(
    folder: Path, clips: Sequence[Clip], num_frames: int, console: Console
) -> tuple[dict[str, Calibration], Verdict]:
    """Calibrate and judge the networks of a model.

    Args:
        folder: the model's.
        clips: one for each person; every fourth is held back for the judgement.
        num_frames: of each clip.
        console: is told what is being done.

    Raises:
        ValueError: too few clips show a face, or a runtime or NNCF is missing.
    """
    config = read_model_config(folder / "config.yaml")
    pipeline = load_pipeline(folder, runtime="eager", precision="fp32")
    shown = [_moments_of(pipeline, clip, num_frames, console) for clip in clips]
    held_back = [moment for each in shown[::_HELD_BACK_EVERY] for moment in each]
    del shown[::_HELD_BACK_EVERY]
    taken = [moment for each in shown for moment in each]
    if not (held_back and taken):
        raise ValueError(f"got {len(clips)} clips, of too few people with a face: name more clips")
    networks = load_networks(folder, config, {})
    recorded = record_inputs(config, networks, taken)
    calibrations = {}
    for name, module in working_modules(networks).items():
        samples = recorded[name]
        console.print(f"calibrating the {name} on {len(samples)} inputs", highlight=False)
        calibrations[name] = calibrate_network(module, samples)

    def pictures_with(chosen: Mapping[str, Calibration]) -> list[ImageU8]:
        placement = Placement(runtime="openvino", precision="int8", calibrations=chosen)
        generator = _generator(config, networks, placement)
        return [moment.paint(generator) for moment in held_back]

    exact = _generator(config, networks, Placement(runtime="eager", precision="fp32"))
    wanted = [moment.paint(exact) for moment in held_back]
    console.print(f"comparing {len(wanted)} pictures of people held back", highlight=False)
    return calibrations, judge(calibrations, pictures_with, wanted)


def _generator(
    config: ModelConfig, networks: Mapping[str, nn.Module], placement: Placement
) -> Generator:
    return Generator(config, networks, placement=placement)


def _moments_of(pipeline: Pipeline, clip: Clip, num_frames: int, console: Console) -> list[Moment]:
    try:
        return list(moments(pipeline, clip, num_frames))
    except (FaceNotFoundError, SeveralFacesError) as error:
        console.print(f"left out {clip.path.name}: {error}", markup=False, highlight=False)
        return []


def one_clip_each(clips: Sequence[Clip], num_people: int) -> list[Clip]:
    """The first clip of each of so many people, spread evenly over all of them."""
    first: dict[str, Clip] = {}
    for clip in clips:
        first.setdefault(clip.person, clip)
    people = list(first.values())
    chosen = np.linspace(0, len(people) - 1, min(num_people, len(people))).round().astype(int)
    return [people[index] for index in chosen]


def _parser() -> argparse.ArgumentParser:
    data = Path(os.environ.get("DIFFFAE_DATA", "../shared/data"))
    parser = argparse.ArgumentParser(
        prog="python -m difffae.calibrate",
        description="Prepare a model for 8-bit integers, and keep what is as good as fp32.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", default="lite-256", help="bundled name or folder; int8.safetensors goes there")
    add("--clips", type=Path, default=data / "clips", help="folder of face crops")
    add("--csv", type=Path, default=data / "clips.csv", help="their table")
    add("--split", default="train", help="which people; those of the evaluation are to stay unseen")
    add("--people", type=int, default=32, help="how many of them")
    add("--frames", type=int, default=4, help="of each person's first clip")
    return parser


def _table(calibrations: Mapping[str, Calibration], verdict: Verdict) -> Table:
    table = Table(title="int8 against fp32 on people held back")
    for heading in ("network", "rounded tensors", "PSNR dB", "at least", "kept"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for name, db in verdict.alone_db.items():
        kept = "yes" if name in verdict.kept else "no"
        count = str(len(calibrations[name].quantizers))
        table.add_row(name, count, f"{db:.1f}", f"{LOWEST_ALONE_DB:.0f}", kept)
    kept = "yes" if verdict.kept else "no"
    table.add_row("together", "", f"{verdict.together_db:.1f}", f"{LOWEST_TOGETHER_DB:.0f}", kept)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate; return 0, 1 if nothing may run in int8, or 2 after one line on what is wrong."""
    options = _parser().parse_args(arguments)
    logging.getLogger("difffae").setLevel(logging.ERROR)
    errors = Console(stderr=True, soft_wrap=True)
    try:
        folder = find_folder(options.model)
        clips = one_clip_each(read_clips(options.clips, options.csv, options.split), options.people)
        calibrations, verdict = calibrate(folder, clips, options.frames, errors)
        console = Console()
        console.print(_table(calibrations, verdict))
        if not verdict.kept:
            errors.print("no network is good enough in int8: nothing was written")
            return 1
        kept = {name: calibrations[name] for name in verdict.kept}
        written = save_calibrations(folder, kept)
    except (ValueError, OSError) as error:
        errors.print(str(error), style="red", markup=False, highlight=False)
        return USER_ERROR
    console.print(f"written: {written}", markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
