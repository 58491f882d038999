"""A synthetic head model in FLAME's layout, with none of its content.

The head is an ellipsoid on a neck with brows, nose, lips, chin and two eyeballs, of the published
sizes: 5023 vertices, 9976 triangles, 5118 texture coordinates. FLAME's axes and units: metres, x
to the right of a picture taken from the front (the person's left), y up, z out of the face. Its
vertices are ordered row by row from the neck up to the crown, then left eyeball, right eyeball.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

COLUMNS, ROWS = 60, 66  # of the head's rings, then one vertex at the crown
EYE_ROWS = EYE_COLUMNS = 23  # of each eyeball, and two poles
NUM_VERTICES, NUM_FACES, NUM_UV = 5023, 9976, 5118
CROWN = ROWS * COLUMNS
EYE_CENTRES = np.array([[0.031, 0.032, 0.079], [-0.031, 0.032, 0.079]])  # the person's left first
EYE_RADIUS = 0.013
NOSE_TIP = np.array([0.0, 0.002, 0.118])  # the vertex of largest z is near it
SKIN, LIPS, DARK, WHITE = (
    (0.72, 0.54, 0.45),
    (0.66, 0.30, 0.29),
    (0.16, 0.11, 0.09),
    (0.9, 0.9, 0.9),
)


def bump(x: Array, y: Array, centre: tuple[float, float], width: float, height: float) -> Array:
    """A Gaussian hill over the plane of the face [m]; anisotropic by its two widths."""
    return np.exp(-(((x - centre[0]) / width) ** 2) - ((y - centre[1]) / height) ** 2)


@dataclass(frozen=True, kw_only=True)
class SyntheticFlame:
    """All arrays of a head model, under the names of the published pickle where it has them."""

    v_template: Array
    f: NDArray[np.uint32]
    uv: Array  # (5118, 2), u to the right, v up
    uv_faces: NDArray[np.int32]

    @cached_property
    def is_front(self) -> Array:
        """1 on the front of the head, 0 behind the ears, smooth between."""
        return 1 / (1 + np.exp(-(self.v_template[:, 2] - 0.02) / 0.01))

    @cached_property
    def shapedirs(self) -> Array:
        """(5023, 3, 400): 300 of identity, then 100 of expression, falling in size."""
        x, y, z = self.v_template.T
        fields = np.stack([np.ones_like(x), x, y, z, *_waves(self.v_template, 20)], -1) / 0.1
        mix = np.random.default_rng(0).normal(size=(24, 3, 400)) * 2e-4
        mix[:4] *= 0.2
        dirs = np.einsum("vk,kcn->vcn", fields, mix) / (1 + np.arange(400) % 300 / 8)
        dirs[..., :3] = 0
        dirs[:, 0, 0], dirs[:, 1, 1], dirs[:, 2, 2] = 0.05 * x, 0.05 * y, 0.05 * z
        dirs[..., 300:] *= self.is_front[:, None, None]
        dirs[..., 300:303] = 0
        for side in (1, -1):  # a smile, raised brows, blown cheeks
            dirs[:, 0, 300] += (
                self.is_front * side * 0.004 * bump(x, y, (side * 0.024, -0.035), 0.014, 0.014)
            )
            dirs[:, 1, 300] += (
                self.is_front * 0.005 * bump(x, y, (side * 0.024, -0.035), 0.014, 0.014)
            )
            dirs[:, 1, 301] += self.is_front * 0.005 * bump(x, y, (side * 0.03, 0.058), 0.02, 0.012)
            dirs[:, 2, 302] += self.is_front * 0.004 * bump(x, y, (side * 0.04, -0.015), 0.02, 0.02)
        dirs[CROWN + 1 :, :, 300:] = 0  # eyeballs have no expression
        return dirs

    @cached_property
    def posedirs(self) -> Array:
        """(5023, 3, 36): small corrections of the surface by pose."""
        mix = np.random.default_rng(1).normal(size=(20, 3, 36)) * 1e-3
        return np.einsum("kv,kcn->vcn", np.stack(_waves(self.v_template, 20)), mix)

    @cached_property
    def weights(self) -> Array:
        """(5023, 5) of root, neck, jaw, left eye, right eye."""
        x, y, _ = self.v_template.T
        neck = 1 / (1 + np.exp(-(y + 0.11) / 0.008))
        jaw = (
            self.is_front * np.where(y < -0.03, 1.0, 0.0) * np.clip((-0.03 - y) / 0.02, 0, 1) * neck
        )
        jaw = np.where(y < -0.1, 0, jaw)
        weights = np.stack([1 - neck, neck - jaw, jaw, np.zeros_like(x), np.zeros_like(x)], -1)
        left, right = np.split(np.arange(CROWN + 1, NUM_VERTICES), 2)
        weights[CROWN + 1 :] = 0
        weights[left, 3] = weights[right, 4] = 1
        return weights

    @cached_property
    def J_regressor(self) -> Array:  # noqa: N802 - the published key
        """(5, 5023): each joint is a mean of vertices."""
        regressor = np.zeros((5, NUM_VERTICES))
        ears = 24 * COLUMNS + np.array([0, COLUMNS // 2])
        left, right = np.split(np.arange(CROWN + 1, NUM_VERTICES), 2)
        parts = [range(COLUMNS), range(8 * COLUMNS, 9 * COLUMNS), ears, left, right]
        for joint, part in enumerate(parts):
            regressor[joint, list(part)] = 1 / len(part)
        return regressor

    @property
    def kintree_table(self) -> NDArray[np.int64]:
        """Parents and joints; the root's parent is -1 as an unsigned number, as published."""
        return np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]])

    def nearest_faces(self, points: Array) -> NDArray[np.int64]:
        """The triangle of the head whose middle is nearest to each point, in z where it is given.

        Points without z are looked for on the front of the face.
        """
        middles = self.v_template[self.f[: 2 * COLUMNS * (ROWS - 1)]].mean(1)
        candidates = np.arange(len(middles))
        if points.shape[1] == 2:
            candidates = np.flatnonzero(middles[:, 2] > 0)
        nearest = cKDTree(middles[candidates, : points.shape[1]]).query(points)[1]
        return np.asarray(candidates[nearest], np.int64)

    def albedo(self, side: int = 512) -> Array:
        """The texture in [0, 1], RGB; row 0 is v = 1."""
        v, u = 1 - (np.arange(side) + 0.5) / side, (np.arange(side) + 0.5) / side
        u, v = np.meshgrid(u, v)
        elevation = np.deg2rad(-58 + (v - 0.25) / 0.72 * 144)
        x = 0.078 * np.cos(elevation) * np.sin((u - 0.5) * 2 * np.pi)
        y = np.where(v > 0.25, 0.115 * np.sin(elevation) + 0.02, -0.1)
        front = np.abs(u - 0.5) < 0.25
        picture = np.broadcast_to(np.array(SKIN), (side, side, 3)).copy()
        brows = sum(bump(x, y, (s * 0.031, 0.058), 0.018, 0.006) for s in (1, -1))
        for colour, amount in (
            (LIPS, bump(x, y, (0, -0.042), 0.024, 0.009)),
            (DARK, brows),
            (DARK, np.where(y > 0.095, 1.0, 0.0)),
        ):
            amount = np.clip(1.5 * amount, 0, 1) * (front | (y > 0.095))
            picture += (np.array(colour) - picture) * amount[..., None]
        is_eye = v < EYE_V
        iris = np.hypot(((u % 0.5) - 0.25) / EYE_U, (v - EYE_V / 2) / (EYE_V / 2)) < 0.45
        picture[is_eye], picture[is_eye & iris] = WHITE, DARK
        return picture


EYE_V, EYE_U = 0.1, 0.24  # under this v the texture is the eyeballs', of this half width


def _waves(points: Array, count: int) -> list[Array]:
    """Smooth fields over the head."""
    rng = np.random.default_rng(2)
    return [np.sin(points @ rng.normal(0, 25, 3) + rng.uniform(0, 6.3)) for _ in range(count)]


def _head_points() -> Array:
    """Rings of the neck, rings of the head, the crown."""
    neck, azimuth = 10, np.arange(COLUMNS) / COLUMNS * 2 * np.pi  # 0 is +z, to +x
    elevation = np.deg2rad(
        np.concatenate([np.full(neck, -58.0), np.linspace(-58, 86, ROWS - neck)])
    )
    elevation, azimuth = np.meshgrid(elevation, azimuth - np.pi, indexing="ij")
    x = 0.078 * np.cos(elevation) * np.sin(azimuth)
    y = 0.115 * np.sin(elevation) + 0.02
    z = 0.098 * np.cos(elevation) * np.cos(azimuth)
    y[:neck] -= np.linspace(0.06, 0.006, neck)[:, None]
    z[:neck] = np.minimum(z[:neck], 0.045)
    front = z > 0
    hills = 0.024 * bump(x, y, (0, 0.004), 0.011, 0.014) + 0.014 * bump(
        x, y, (0, 0.025), 0.007, 0.022
    )
    hills += 0.006 * bump(x, y, (0, -0.042), 0.02, 0.01) + 0.02 * bump(
        x, y, (0, -0.075), 0.025, 0.02
    )
    for side in (1, -1):
        hills -= 0.012 * bump(x, y, (side * 0.031, 0.032), 0.016, 0.012)
        hills += 0.004 * bump(x, y, (side * 0.03, 0.055), 0.022, 0.008)
    z = z + np.where(front, hills, 0)
    crown = np.array([[0, 0.135, 0]])
    return np.concatenate([np.stack([x, y, z], -1).reshape(-1, 3), crown])


def _eyeball_points() -> Array:
    """A sphere round the origin: rings from the bottom up, then both poles; starts at -z."""
    elevation = np.arange(1, EYE_ROWS + 1) / (EYE_ROWS + 1) * np.pi - np.pi / 2
    azimuth = np.arange(EYE_COLUMNS) / EYE_COLUMNS * 2 * np.pi - np.pi
    elevation, azimuth = np.meshgrid(elevation, azimuth, indexing="ij")
    rings = np.stack(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
            np.cos(elevation) * np.cos(azimuth),
        ],
        -1,
    )
    return np.concatenate([rings.reshape(-1, 3), [[0, -1, 0], [0, 1, 0]]])


def _grid_faces(rows: int, columns: int, *, has_seam: bool) -> NDArray[np.int64]:
    """Triangles between rings, outwards; with a seam, rows are one column longer."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    width = columns + has_seam
    right = column + 1 if has_seam else (column + 1) % columns
    a, b = row * width + column, row * width + right
    c, d = a + width, b + width
    return np.stack([a, b, d, a, d, c], -1).reshape(-1, 3)


def _fan(ring: NDArray[np.int64], following: NDArray[np.int64], pole: object) -> NDArray[np.int64]:
    """Triangles from a ring to a pole above it."""
    return np.stack([ring, following, np.broadcast_to(np.asarray(pole), ring.shape)], -1)


def _eyeball_faces() -> NDArray[np.int64]:
    """Triangles of one eyeball."""
    ring, last = np.arange(EYE_COLUMNS), EYE_COLUMNS * EYE_ROWS
    top = last - EYE_COLUMNS + ring
    following = (ring + 1) % EYE_COLUMNS
    body = _grid_faces(EYE_ROWS, EYE_COLUMNS, has_seam=False)
    bottom = _fan(following, ring, last)
    return np.concatenate([body, bottom, _fan(top, last - EYE_COLUMNS + following, last + 1)])


def _head_uv() -> tuple[Array, NDArray[np.int64]]:
    """A seam at the back of the head, and thirty copies of the crown for its sixty triangles."""
    v = np.concatenate([np.linspace(EYE_V + 0.01, 0.25, 10), np.linspace(0.25, 0.97, ROWS - 10)])
    u = np.arange(COLUMNS + 1) / COLUMNS
    rings = np.stack(np.meshgrid(u, v), -1).reshape(-1, 2)
    crowns = np.stack([(np.arange(30) + 0.5) / 30, np.full(30, 0.99)], -1)
    last = (ROWS - 1) * (COLUMNS + 1) + np.arange(COLUMNS)
    top = _fan(last, last + 1, len(rings) + np.arange(COLUMNS) // 2)
    return np.concatenate([rings, crowns]), np.concatenate(
        [_grid_faces(ROWS, COLUMNS, has_seam=True), top]
    )


@cache
def synthetic_flame() -> SyntheticFlame:
    """The one synthetic head."""
    ring = CROWN - COLUMNS + np.arange(COLUMNS)
    top = _fan(ring, CROWN - COLUMNS + (np.arange(COLUMNS) + 1) % COLUMNS, CROWN)
    head = np.concatenate([_grid_faces(ROWS, COLUMNS, has_seam=False), top])
    ball, ball_faces = _eyeball_points(), _eyeball_faces()
    eyes = [EYE_RADIUS * ball + centre for centre in EYE_CENTRES]
    starts = [CROWN + 1, CROWN + 1 + len(ball)]
    uv, uv_faces = _head_uv()
    eye_uv = [ball[:, :2] * [EYE_U, EYE_V * 0.49] + [middle, EYE_V / 2] for middle in (0.75, 0.25)]
    uv_starts = [len(uv), len(uv) + len(ball)]
    return SyntheticFlame(
        v_template=np.concatenate([_head_points(), *eyes]),
        f=np.concatenate([head, *(ball_faces + start for start in starts)]).astype(np.uint32),
        uv=np.concatenate([uv, *eye_uv]),
        uv_faces=np.concatenate([uv_faces, *(ball_faces + s for s in uv_starts)]).astype(np.int32),
    )
