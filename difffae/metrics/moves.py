"""How far an edit goes, and what it takes along: every attribute as a vector, before and after.

An edit's output is compared with the model's own output when nothing is edited. The share of the
way is that change along what was asked for (from the source to the query), so that the noise of
reading, which points anywhere, does not count as falling short; what an edit should leave alone is
measured by the whole length of its change, noise included, over the natural spread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from difffae.metrics.edit_matrix import ATTRIBUTES, NAN, Moved, target

Read = Float[NDArray[np.float64], " read"]
Looks = Mapping[str, Read]  # by attribute


@dataclass(frozen=True, kw_only=True)
class Move:
    """One attribute's change by one edit, and what a whole one would be.

    Attributes:
        along: scalar product of the change with the way from source to query.
        way: the way's squared length.
        change: the change's length.
        spread: the way's length.
    """

    along: float
    way: float
    change: float
    spread: float


@dataclass(frozen=True, kw_only=True)
class CaseMoves:
    """One query's: by edit, the attributes' moves and the fall of the cosine."""

    moves: Mapping[str, Mapping[str, Move]]
    falls: Mapping[str, float]


def move(output: Looks, unedited: Looks, ends: tuple[Looks, Looks]) -> dict[str, Move]:
    """Every attribute's move.

    Args:
        output: read from the edit's output.
        unedited: from the output of no edit.
        ends: from the source, and from the query.
    """
    found = {}
    for name in ATTRIBUTES:
        way, change = ends[1][name] - ends[0][name], output[name] - unedited[name]
        found[name] = Move(
            along=float(change @ way),
            way=float(way @ way),
            change=float(np.linalg.norm(change)),
            spread=float(np.linalg.norm(way)),
        )
    return found


def moved(cases: Sequence[CaseMoves]) -> dict[str, Moved]:
    """Sums over sums, by edit: pairs that hardly differ hardly count."""
    edits = list(dict.fromkeys(edit for case in cases for edit in case.moves))
    return {edit: _moved(edit, [case for case in cases if edit in case.moves]) for edit in edits}


def _moved(edit: str, cases: Sequence[CaseMoves]) -> Moved:
    shares = {}
    for name in ATTRIBUTES:
        moves = [case.moves[edit][name] for case in cases]
        is_edited = target(edit, name) == "query"
        over = sum(each.along if is_edited else each.change for each in moves)
        whole = sum(each.way if is_edited else each.spread for each in moves)
        shares[name] = over / whole if whole > 0 else NAN
    falls = [case.falls[edit] for case in cases if np.isfinite(case.falls[edit])]
    return Moved(**shares, csim=float(np.mean(falls)) if falls else NAN)
