"""Does a swap do what it says: `python -m difffae.metrics.swap`; portraits in, tables out.

Portraits of different people in pairs, one the source, one the donor. For hair, clothes and
background, by pixels and by tokens, with the head as it is and turned: inside, how much nearer the
donor the output is than the unswapped one; outside, PSNR against the unswapped output. Inside is
where the donor's hair or clothes lie, the donor laid over the output by five points; outside is
where neither the source's region is nor the donor's. A region that is hidden while its own token
stays is the control: what it gains, no token has told.

Last, how well slot masks fit the segmentation: intersection over union of hair and background,
MediaPipe's selfie segmentation telling person from background and the mesh telling hair and head
from face and body, since no network that ships here knows hair.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from difffae.arrays import ImageU8, MaskF32, MaskU8, Points3, SquareU8
from difffae.controls import Controls
from difffae.data.split import first_frame, read_clips
from difffae.face.crop import crop
from difffae.face.edit import Edit
from difffae.face.identity import five_points, similarity
from difffae.face.person_parts import take_parts
from difffae.face.portrait_regions import BACKGROUND, BODY, HEAD
from difffae.face.scene import cover, take_scene
from difffae.face.tracker import FaceNotFoundError, SeveralFacesError
from difffae.hidden import regions_of
from difffae.loading import load_pipeline
from difffae.metrics.grid import GridRow, draw_grid
from difffae.metrics.image import psnr_db
from difffae.metrics.landmarks import LandmarkMeter
from difffae.metrics.perceptual import FeatureDistance, load_feature_distance
from difffae.metrics.slots import TaughtFigures, taught_figures
from difffae.pipeline import Pipeline, Source
from difffae.scenery import Exchange, Scenery, SceneryEditor, SwapError

PLANES = {"hair": HEAD, "clothes": BODY, "background": BACKGROUND}
WAYS = ("pixels", "tokens", "own token")
GOALS = {"fall": 0.3, "outside_db": 27.0, "mean_iou": 0.6}
_YAWS = (0.0, 12.0)
_PICTURES = (".jpg", ".jpeg", ".png")
_USER_ERROR = 2
_GRID_ROWS = 8
_LONGEST_PX = 720  # of a portrait, as the live server has them


@dataclass(frozen=True, kw_only=True)
class SwapFigures:
    """One way of swapping one region, means over pairs and poses.

    Attributes:
        region, way: which.
        fall: share by which the feature distance to the donor falls inside.
        fall_anywhere: the same of features averaged over the inside, wherever in it they are.
        outside_db: PSNR against the unswapped output outside.
    """

    region: str
    way: str
    fall: float
    fall_anywhere: float
    outside_db: float


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A donor as they are compared with, and where.

    Attributes:
        plain: the unswapped output.
        donor: laid over it.
        inside: 1 where the donor's hair or clothes lie; of a background, the source's own.
        either: 1 where the source's or the donor's region is.
    """

    plain: SquareU8
    donor: SquareU8
    inside: MaskF32
    either: MaskF32


class SwapMeter:
    """Swaps regions of portraits and measures what came of it."""

    def __init__(self, pipeline: Pipeline, distance: FeatureDistance) -> None:
        """Use this model, and this network for distances."""
        self._pipeline = pipeline
        self._editor = SceneryEditor(pipeline, is_measuring=True)
        self._distance = distance
        self._landmarks = LandmarkMeter()
        self._size = pipeline.config.image_size
        self.left_out: list[str] = []

    def measure(
        self, source: Source, donor: Source
    ) -> Iterator[tuple[SwapFigures, dict[str, SquareU8]]]:
        """Each region and way at each pose: its figures, and what they were read from."""
        for region in PLANES:
            try:
                swapped = {
                    way: self._editor.edit(source, _scenery(region, way, donor)) for way in WAYS
                }
            except SwapError as error:
                self.left_out.append(str(error))
                continue
            for yaw in _YAWS:
                controls = Controls(edit=Edit(yaw=yaw))
                case = self._case(region, source, donor, controls)
                if case is None:
                    continue
                before = self._distances(case.plain, case)
                for way, one in swapped.items():
                    output = self._shown(one, controls)
                    after = self._distances(output, case)
                    figures = SwapFigures(
                        region=region,
                        way=way,
                        fall=1 - after[0] / max(before[0], 1e-9),
                        fall_anywhere=1 - after[1] / max(before[1], 1e-9),
                        outside_db=psnr_db(output, case.plain, _outside(case.either)),
                    )
                    yield figures, {"source": case.plain, "donor": case.donor, way: output}

    def slots(self, sources: Sequence[Source]) -> TaughtFigures:
        """How well the portraits' slot masks fit the segmentation."""
        masks = torch.cat([one.tokens.slot_masks.float().cpu() for one in sources])
        planes = [regions_of(one.face.layers.person, one.points) for one in sources]
        wanted = torch.from_numpy(np.stack(planes)).permute(0, 3, 1, 2)
        return taught_figures(masks, F.interpolate(wanted, size=masks.shape[-2:], mode="area"))

    def _shown(self, source: Source, controls: Controls) -> SquareU8:
        image = self._pipeline.still(source, controls).image
        return crop(image, source.crop_box, self._size)

    def _case(self, region: str, source: Source, donor: Source, controls: Controls) -> _Case | None:
        """None where the unswapped output shows no face, or the donor nothing of the region."""
        plain = self._shown(source, controls)
        points = self._landmarks.points(plain)
        if points is None:
            return None
        theirs = crop(donor.image, donor.crop_box, self._size)
        own = self._region(region, plain, points)
        of_donor = self._region(region, theirs, donor.points)
        if region == "background":  # which does not move with the face
            height, width = source.image.shape[:2]
            scene = take_scene(donor.image, self._pipeline.segment(donor.image))
            placed = crop(cover(scene.plate, height, width), source.crop_box, self._size)
            return _Case(plain=plain, donor=placed, inside=own[0], either=own[0])
        matrix = similarity(five_points(donor.points), five_points(points))
        size = (self._size, self._size)
        laid = cv2.warpAffine(theirs, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        worn, around = (cv2.warpAffine(each, matrix, size) for each in of_donor)
        if not (worn > 0.5).any():
            return None
        return _Case(
            plain=plain,
            donor=np.asarray(laid, np.uint8),
            inside=np.asarray(worn, np.float32),
            either=np.maximum(own[1], np.asarray(around, np.float32)),
        )

    def _region(self, region: str, image: SquareU8, points: Points3) -> tuple[MaskF32, MaskF32]:
        """1 where hair or clothes are, and where the slot's region is or these."""
        person = self._pipeline.segment(image)
        plane = regions_of(person, points)[..., PLANES[region]]
        if region == "background":
            both = np.asarray(plane > 0.5, np.float32)
            return both, both
        parts = take_parts(image, person, points)
        worn = parts.hair if region == "hair" else parts.clothes
        either = np.maximum(plane, worn) > 0.5
        return np.asarray(worn > 0.5, np.float32), np.asarray(either, np.float32)

    @torch.inference_mode()
    def _distances(self, output: SquareU8, case: _Case) -> tuple[float, float]:
        """To the donor inside the region: place by place, and of the means over it."""
        given = (_tensor(picture) for picture in (output, case.donor))
        ours, theirs = (self._distance.features(picture) for picture in given)
        at_place = anywhere = 0.0
        for one, other in zip(ours, theirs, strict=True):
            inside = _weights(case.inside, one.shape[-2:])
            apart = (one - other).square().sum(1)[0]
            at_place += float((apart * inside).sum())
            means = ((one[0] - other[0]) * inside).sum((1, 2))
            anywhere += float(means.square().sum())
        return at_place, anywhere


def means(found: Sequence[SwapFigures]) -> list[SwapFigures]:
    """Over all pairs and poses of each region and way."""
    rows = []
    for region in PLANES:
        for way in WAYS:
            chosen = [one for one in found if (one.region, one.way) == (region, way)]
            if chosen:
                rows.append(
                    SwapFigures(
                        region=region,
                        way=way,
                        fall=float(np.mean([one.fall for one in chosen])),
                        fall_anywhere=float(np.mean([one.fall_anywhere for one in chosen])),
                        outside_db=float(np.mean([one.outside_db for one in chosen])),
                    )
                )
    return rows


def _scenery(region: str, way: str, donor: Source) -> Scenery:
    exchange = Exchange(donor=donor, amount=0.0 if way == "own token" else 1.0)
    named = {region: exchange}
    return Scenery(**named, way="pixels" if way == "pixels" else "tokens")


def _outside(either: MaskF32) -> MaskU8:
    return np.asarray(np.where(either > 0.5, 0, 255), np.uint8)


def _weights(mask: MaskF32, size: torch.Size) -> Tensor:
    """A mask at a layer's size, of sum 1."""
    small = F.interpolate(torch.from_numpy(mask)[None, None], size=tuple(size), mode="area")[0, 0]
    return small / small.sum().clamp_min(1e-6)


def _tensor(image: SquareU8) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1


def read_portraits(folder: Path, most: int) -> list[ImageU8]:
    """The first pictures of a folder by name, those in folders within it too.

    Raises:
        ValueError: there are none, or one cannot be read.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES)[:most]
    if not paths:
        raise ValueError(f"Got no picture in {folder}; expected {', '.join(_PICTURES)} files")
    pictures = []
    for path in paths:
        image = cv2.imread(str(path))
        if image is None:
            raise ValueError(f"Got a file that is not a readable picture: {path}")
        factor = min(1.0, _LONGEST_PX / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        pictures.append(np.ascontiguousarray(small[..., ::-1], np.uint8))
    return pictures


def _portraits(given: argparse.Namespace) -> list[ImageU8]:
    """Pictures of a folder, or the first frame of one clip of each person of the split."""
    if given.portraits is not None:
        return read_portraits(given.portraits, given.most)
    clips = {clip.person: clip for clip in read_clips(given.clips, given.csv, given.split)}
    return [first_frame(clip.path) for clip in list(clips.values())[: given.most]]


def _encoded(pipeline: Pipeline, images: Sequence[ImageU8], console: Console) -> list[Source]:
    sources = []
    for number, image in enumerate(images):
        try:
            sources.append(pipeline.encode_source(image))
        except (FaceNotFoundError, SeveralFacesError) as error:
            console.print(f"warning: left out portrait {number}: {error}", markup=False)
    if len(sources) < 2:
        raise ValueError(f"Got {len(sources)} portraits with one face; expected two or more")
    return sources


def _parser() -> argparse.ArgumentParser:
    data = Path(os.environ.get("DIFFFAE_DATA", "../shared/data"))
    parser = argparse.ArgumentParser(
        prog="python -m difffae.metrics.swap",
        description="Measure what swapping hair, clothes and background does.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", default="lite-256", help="bundled name or folder")
    add("--runtime", default="auto", help="how networks run")
    add("--portraits", type=Path, metavar="FOLDER", help="pictures of different people")
    add("--clips", type=Path, default=data / "clips", help="folder of clips, without --portraits")
    add("--csv", type=Path, default=data / "clips.csv", help="their table")
    add("--split", default="val", help="which people")
    add("--most", type=int, default=12, help="portraits; each is source once and donor once")
    features = data / "weights" / "squeezenet11.safetensors"
    add("--weights-features", type=Path, default=features, help="SqueezeNet 1.1")
    add("--output", type=Path, default=Path("runs/swap"), help="folder of figures and pictures")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 0, or 2 after one line on what is wrong and what to do."""
    given = _parser().parse_args(arguments)
    errors = Console(stderr=True, soft_wrap=True)
    try:
        images = _portraits(given)
        distance = load_feature_distance(given.weights_features)
        pipeline = load_pipeline(given.model, runtime=given.runtime)
        meter = SwapMeter(pipeline, distance)
        sources = _encoded(pipeline, images, errors)
        found, grids = _measured(meter, sources, errors)
        for sentence in meter.left_out:
            errors.print(f"left out: {sentence}", markup=False, highlight=False)
        report(given.output, means(found), meter.slots(sources), grids)
    except (ValueError, OSError) as error:
        errors.print(str(error), style="red", markup=False, highlight=False)
        return _USER_ERROR
    return 0


def _measured(
    meter: SwapMeter, sources: Sequence[Source], console: Console
) -> tuple[list[SwapFigures], dict[str, list[GridRow]]]:
    """All pairs: each portrait with the next as its donor; pictures by region, turned last."""
    found: list[SwapFigures] = []
    grids: dict[str, list[GridRow]] = {region: [] for region in PLANES}
    donors = [*sources[1:], sources[0]]
    pairs = list(zip(sources, donors, strict=True))
    for number, pair in enumerate(track(pairs, "measuring", console=console, transient=True)):
        shown: dict[str, dict[str, SquareU8]] = {region: {} for region in PLANES}
        for figures, pictures in meter.measure(*pair):
            found.append(figures)
            shown[figures.region].update(pictures)
        for region, pictures in shown.items():
            if pictures and len(grids[region]) < _GRID_ROWS:
                grids[region].append(GridRow(label=f"pair {number}", pictures=pictures))
    if not found:
        raise ValueError("Got no output with a face: nothing can be measured; use other portraits")
    return found, grids


def report(
    folder: Path,
    rows: Sequence[SwapFigures],
    slots: TaughtFigures,
    grids: dict[str, list[GridRow]],
) -> None:
    """Print the tables; write figures.json and a grid of pictures for each region.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"swaps": [asdict(row) for row in rows], "slots": asdict(slots), "goals": GOALS}
    (folder / "swap.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    for region, grid in grids.items():
        drawn = draw_grid(grid)[..., ::-1] if grid else None
        if drawn is not None and not cv2.imwrite(str(folder / f"swap_{region}.png"), drawn):
            raise OSError(f"Got no picture written to {folder}: is it writable?")
    console = Console()
    console.print(_table(rows))
    told = ", ".join(f"{name} {value:.2f}" for name, value in slots.iou.items())
    console.print(f"slots: {told}; hair and background {slots.mean_iou:.2f}", highlight=False)
    console.print(f"pictures: {folder}", markup=False, highlight=False)


def _table(rows: Sequence[SwapFigures]) -> Table:
    table = Table(title="nearer the donor inside, unchanged outside")
    for name in ("region", "way", "inside, by place", "inside, anywhere", "outside dB"):
        table.add_column(name, justify="left" if name in ("region", "way") else "right")
    for row in rows:
        falls = (f"{100 * value:.0f} %" for value in (row.fall, row.fall_anywhere))
        table.add_row(row.region, row.way, *falls, f"{row.outside_db:.1f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
