"""Does editing one attribute leave the others alone: re-read every attribute of every edit.

From a query picture of another person one attribute at a time is taken over (pose, expression,
light), then all three, and none as the floor of the reading's own noise. All attributes are read
again from the output: an edited one is compared with the query's, the others with the source's, in
a matrix of edits by attributes (after ControlFace and DiffusionRig, model.md 5.3). Each figure is
also given relative to the attribute's natural spread in the run: the mean distance between source
and query, so that 0 is perfect and 1 as far off as another person's picture.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from difffae.arrays import ImageU8, Lighting
from difffae.data.split import first_frame, read_frames
from difffae.face.parameters import FaceParameters
from difffae.face.tracker import FaceNotFoundError
from difffae.metrics.edit_matrix import (
    ATTRIBUTES,
    EDITS,
    NAN,
    NOTHING,
    AttributeDistances,
    EditMatrix,
    mean_distances,
    mean_rows,
)
from difffae.metrics.editing import Bench, Editor
from difffae.metrics.expression_distance import aed
from difffae.metrics.grid import GridRow
from difffae.metrics.identity import cosine
from difffae.metrics.lighting_distance import ald
from difffae.metrics.meter import Looks
from difffae.metrics.moves import CaseMoves, move, moved
from difffae.metrics.outputs import Case
from difffae.metrics.parameter_meter import Reading
from difffae.metrics.pose_distance import apd_deg
from difffae.pipeline import Source

MAX_QUERIES = 4  # of one pair of clips


@dataclass(frozen=True, kw_only=True)
class EditedCase:
    """What one pair of clips gave.

    Attributes:
        case: the source and the query's clip.
        rows: by row and edit, means over the queries.
        spread: between source and queries.
        num_queries: how many frames of the query's clip.
        pictures: the first query's edits by the last row.
        moves: of every query, by row.
    """

    case: Case
    rows: dict[str, dict[str, AttributeDistances]]
    spread: AttributeDistances
    num_queries: int
    pictures: GridRow
    moves: dict[str, list[CaseMoves]]


@dataclass(frozen=True, kw_only=True)
class _Face:
    """A picture as the meter sees it, and as the model's own rig reads it."""

    looks: Looks
    reading: Reading
    parameters: FaceParameters
    lighting: Lighting


class Disentanglement:
    """Every row of a model over pairs of clips."""

    def __init__(self, editor: Editor, bench: Bench, *, max_queries: int = MAX_QUERIES) -> None:
        """Take at most so many frames of a clip as queries, spread over it."""
        self._editor = editor
        self._bench = bench
        self._max_queries = max_queries

    def measure(self, case: Case) -> EditedCase:
        """Edit the first frame of the source's clip by frames of the driver's.

        Raises:
            FaceNotFoundError: no face in the source, or in none of the queries.
        """
        source = self._editor.encode(first_frame(case.source.path))
        own = self._own(source, case)
        spreads: list[AttributeDistances] = []
        edits: list[dict[str, dict[str, AttributeDistances]]] = []
        pictures: dict[str, ImageU8] = {}
        moves: dict[str, list[CaseMoves]] = {row: [] for row in self._editor.rows}
        for query in self._queries(case):
            spread = self._distances(query, dict.fromkeys(ATTRIBUTES, own), own)
            made = {edit: self._pictures(source, own, query, edit) for edit in EDITS}
            scored: dict[str, dict[str, AttributeDistances]] = {}
            for row in self._editor.rows:
                shown = {edit: self._shows(made[edit][row], own) for edit in EDITS}
                scored[row] = {
                    edit: self._score(face, own, query, edit, spread)
                    for edit, face in shown.items()
                }
                if (case_moves := self._moves(shown, scored[row], own, query)) is not None:
                    moves[row].append(case_moves)
            edits.append(scored)
            spreads.append(spread)
            pictures = pictures or self._shown(own, query, made)
        if not edits:
            raise FaceNotFoundError(
                f"Got no face in any query of {case.driver.path.name}: leave that clip out"
            )
        return EditedCase(
            case=case,
            rows=mean_rows(edits),
            spread=mean_distances(spreads),
            num_queries=len(edits),
            pictures=GridRow(label=case.video_name, pictures=pictures),
            moves=moves,
        )

    def _own(self, source: Source, case: Case) -> _Face:
        looks = self._bench.instruments.look(
            self._editor.seen(source.image, source), with_features=False
        )
        if looks.points is None:
            raise FaceNotFoundError(f"Got no face in the first frame of {case.source.path.name}")
        return _Face(
            looks=looks,
            reading=self._bench.parameters.read(looks.image, looks.points),
            parameters=source.face.fitted.parameters,
            lighting=source.face.appearance.lighting,
        )

    def _queries(self, case: Case) -> Iterator[_Face]:
        """Frames of the driver's clip that show a face, spread over it."""
        last = max(case.driver.num_frames - 1, 1)
        chosen = {int(index) for index in np.linspace(1, last, self._max_queries)}
        for index, frame in enumerate(read_frames(case.driver.path)):
            if index not in chosen:
                continue
            looks = self._bench.instruments.look(frame, with_features=False)
            if looks.points is None:
                continue
            yield _Face(
                looks=looks,
                reading=self._bench.parameters.read(looks.image, looks.points),
                parameters=self._editor.parameters_of(frame, case.driver.path),
                lighting=self._editor.light_of(frame, case.driver.path),
            )

    def _pictures(
        self, source: Source, own: _Face, query: _Face, edit: str
    ) -> Mapping[str, ImageU8]:
        """Every row's picture of one edit."""
        taken = EDITS[edit]
        shown = own.parameters
        if "pose" in taken:
            shown = replace(shown, rotation=query.parameters.rotation)
        if "expression" in taken:
            shown = self._editor.with_expression(shown, query.parameters)
        light = query.lighting if "light" in taken else own.lighting
        return self._editor.pictures(source, shown, light)

    def _shows(self, image: ImageU8, own: _Face) -> _Face | None:
        """An output as the meter sees it, its shape read anew; None without a face."""
        looks = self._bench.instruments.look(image, with_features=False)
        if looks.points is None:
            return None
        meter = self._bench.parameters
        alone = meter.read(looks.image, looks.points)
        known = meter.read(looks.image, looks.points, own.reading.parameters)
        shape = alone.parameters.shape
        reading = replace(known, parameters=replace(known.parameters, shape=shape))
        return _Face(looks=looks, reading=reading, parameters=own.parameters, lighting=own.lighting)

    def _score(
        self,
        face: _Face | None,
        own: _Face,
        query: _Face,
        edit: str,
        spread: AttributeDistances,
    ) -> AttributeDistances:
        """Every attribute against what it should be; without a face, as far off as the query."""
        if face is None:
            return replace(spread, csim=NAN if own.looks.embedding is None else 0.0)
        targets = {name: query if name in EDITS[edit] else own for name in ATTRIBUTES}
        return self._distances(face, targets, own)

    def _moves(
        self,
        shown: Mapping[str, _Face | None],
        scored: Mapping[str, AttributeDistances],
        own: _Face,
        query: _Face,
    ) -> CaseMoves | None:
        """What each edit changed; None if no face is seen even where nothing was edited.

        An output without a face has not moved, and is nobody.
        """
        meter, unedited = self._bench.parameters, shown[NOTHING]
        if unedited is None:
            return None
        before, *ends = (meter.vectors(face.reading) for face in (unedited, own, query))
        made = {edit: face for edit, face in shown.items() if edit != NOTHING}
        return CaseMoves(
            moves={
                edit: move(
                    before if face is None else meter.vectors(face.reading),
                    before,
                    (ends[0], ends[1]),
                )
                for edit, face in made.items()
            },
            falls={edit: scored[NOTHING].csim - scored[edit].csim for edit in made},
        )

    def _distances(
        self, face: _Face, targets: Mapping[str, _Face], source: _Face
    ) -> AttributeDistances:
        def parameters(name: str) -> FaceParameters:
            return targets[name].reading.parameters

        mine = face.reading.parameters
        shape = mine.shape.astype(np.float64) - parameters("shape").shape
        first, second = face.looks.embedding, source.looks.embedding
        return AttributeDistances(
            pose=apd_deg(mine, parameters("pose")),
            expression=aed(mine, parameters("expression"), num_jaw=self._bench.parameters.num_jaw),
            light=ald(face.reading.lighting, targets["light"].reading.lighting),
            shape=float(np.abs(shape).mean()),
            csim=NAN if first is None or second is None else cosine(first, second),
        )

    def _shown(
        self, own: _Face, query: _Face, made: Mapping[str, Mapping[str, ImageU8]]
    ) -> dict[str, ImageU8]:
        """The pictures of the last row, beside source and query."""
        row = self._editor.rows[-1]
        edits = {f"{edit}: {row}": pictures[row] for edit, pictures in made.items()}
        return {"source": own.looks.image, "driver = query": query.looks.image, **edits}


def matrix(cases: Sequence[EditedCase]) -> EditMatrix:
    """The mean over cases, each weighing alike.

    Raises:
        ValueError: no cases.
    """
    if not cases:
        raise ValueError("Got no edited pair but expected one: choose a split with two people")
    return EditMatrix(
        rows=mean_rows([case.rows for case in cases]),
        spread=mean_distances([case.spread for case in cases]),
        num_pairs=len(cases),
        num_queries=sum(case.num_queries for case in cases),
        moved={
            row: moved([each for case in cases for each in case.moves[row]])
            for row in cases[0].moves
        },
    )
