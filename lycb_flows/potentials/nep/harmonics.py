"""Real spherical harmonics up to l = 4 as polynomials of unit vectors, and their gradients.

The polynomials are not normalised: `WEIGHTS` are the squares of the norms, so that the sum of
weight times square over the m of one l is (2 l + 1) / (4 pi) for any unit vector. Kernel and torch
layers use the same order. Outside the sphere the polynomials are continued as they stand; only
the tangential part of a gradient has a meaning.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

STARTS = (0, 3, 8, 15, 24)
"""Where each l begins, from l = 1."""

WEIGHTS = np.array(
    [3 / 4] * 3
    + [15 / 4] * 3 + [15 / 16, 5 / 16]
    + [35 / 32, 105 / 4, 21 / 32, 7 / 16, 21 / 32, 105 / 16, 35 / 32]
    + [315 / 16, 315 / 32, 45 / 16, 45 / 32, 9 / 256, 45 / 32, 45 / 64, 315 / 32, 315 / 256]
) / math.pi  # fmt: skip

FOUR_BODY = -math.sqrt(2 / 35) * (5 / (4 * math.pi)) ** 1.5 * 27 / 2
"""Wigner's (2 2 2) invariant over the determinant of sum g (r r^T - 1/3).

For one neighbour along z only m = 0 is left: (2 2 2; 0 0 0) Y_20^3, against a determinant of 2/27.
"""

FIVE_BODY = (1 / 3 + 2 / 15) * (3 / (4 * math.pi)) ** 2
"""The (1 1 1 1) invariant over the square of the squared sum of g r.

Two pairs of l = 1 couple by L = 0 and by L = 2: (1 1 0; 0 0 0)^2 + (1 1 2; 0 0 0)^2.
"""


def harmonics(units: Tensor, l_max: int) -> Tensor:
    """Return the polynomials of unit vectors, shape (..., STARTS[l_max]).

    Parameters
    ----------
    units
        Shape (..., 3).
    l_max
        Largest l.
    """
    x, y, z = units.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    xy, d = x * y, xx - yy
    a, b, c = y * (3 * xx - yy), x * (xx - 3 * yy), 7 * zz - 1
    rows = [x, y, z, xy, y * z, x * z, d, 3 * zz - 1]
    if l_max > 2:  # noqa: PLR2004
        five = 5 * zz - 1
        rows += [a, xy * z, y * five, z * (five - 2), x * five, z * d, b]
    if l_max > 3:  # noqa: PLR2004
        rows += [xy * d, z * a, xy * c, y * z * (c - 2), (35 * zz - 30) * zz + 3]
        rows += [x * z * (c - 2), d * c, z * b, d * d - 4 * xy * xy]
    return torch.stack(rows[: STARTS[l_max]], -1)


def gradients(units: Tensor, slopes: Tensor, l_max: int) -> Tensor:
    """Return the sum of slope times gradient over the polynomials, shape (..., 3).

    Parameters
    ----------
    units
        Shape (..., 3).
    slopes
        Of each polynomial, shape (..., STARTS[l_max]).
    l_max
        Largest l.
    """
    x, y, z = units.unbind(-1)
    g = slopes.unbind(-1)
    along = (g[0], g[1], g[2])
    if l_max > 1:
        along = _add(
            along,
            g[3] * y + g[5] * z + 2 * g[6] * x,
            g[3] * x + g[4] * z - 2 * g[6] * y,
            g[4] * y + g[5] * x + 6 * g[7] * z,
        )
    xx, yy, zz = x * x, y * y, z * z
    xy, d, five = x * y, xx - yy, 5 * zz - 1
    if l_max > 2:  # noqa: PLR2004
        along = _add(
            along,
            z * (g[9] * y + 2 * g[13] * x) + 6 * g[8] * xy + g[12] * five + 3 * g[14] * d,
            z * (g[9] * x - 2 * g[13] * y) - 6 * g[14] * xy + g[10] * five + 3 * g[8] * d,
            g[9] * xy + 10 * z * (g[10] * y + g[12] * x) + g[11] * (15 * zz - 3) + g[13] * d,
        )
    if l_max > 3:  # noqa: PLR2004
        a, b, c = y * (3 * xx - yy), x * (xx - 3 * yy), 7 * zz - 1
        in_x = z * (6 * g[16] * xy + g[20] * (c - 2) + 3 * g[22] * d) + 4 * g[23] * b
        in_y = z * (3 * g[16] * d + g[18] * (c - 2) - 6 * g[22] * xy) - 4 * g[23] * a
        in_z = 14 * z * (g[17] * xy + g[21] * d) + 3 * c * (g[18] * y + g[20] * x)
        along = _add(
            along,
            g[15] * a + in_x + c * (g[17] * y + 2 * g[21] * x),
            g[15] * b + in_y + c * (g[17] * x - 2 * g[21] * y),
            g[16] * a + in_z + g[19] * z * (140 * zz - 60) + g[22] * b,
        )
    return torch.stack(along, -1)


_Along = tuple[Tensor, Tensor, Tensor]


def _add(along: _Along, x: Tensor, y: Tensor, z: Tensor) -> _Along:
    return along[0] + x, along[1] + y, along[2] + z
