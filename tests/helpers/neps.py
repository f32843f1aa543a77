"""Random NEPs of several shapes and a crystal that they are tried on."""

import numpy as np

from lycb_flows.potentials.nep.file import NepShape, NepWeights

SHAPES = {
    "five-body": NepShape(("Li", "Y", "Cl"), neurons=11),
    "other sizes": NepShape(
        ("Cl", "Li", "Y"),
        cutoffs_ang=(5.5, 4.0),
        n_radial=5,
        n_angular=4,
        k_radial=7,
        k_angular=6,
        five_body=False,
        neurons=10,
    ),
    "three-body": NepShape(
        ("Li", "Y", "Cl"), n_angular=9, l_max=3, four_body=False, five_body=False, neurons=5
    ),
}

STUDENT = NepShape(
    ("Cl", "Li"),
    cutoffs_ang=(5.0, 4.0),
    n_radial=5,
    n_angular=4,
    k_radial=7,
    k_angular=6,
    l_max=2,
    five_body=False,
    neurons=10,
)
"""A small one, for students of rocksalt."""


def random_weights(shape: NepShape, seed: int = 0) -> NepWeights:
    rng = np.random.default_rng(seed)
    s, n, d = len(shape.species), shape.neurons, shape.descriptors
    return NepWeights(
        first=0.3 * rng.normal(size=(s, n, d)),
        biases=rng.normal(size=(s, n)),
        second=rng.normal(size=(s, n)),
        constants_ev=rng.normal(size=s),
        radial=0.3 * rng.normal(size=(shape.n_radial, shape.k_radial, s, s)),
        angular=0.3 * rng.normal(size=(shape.n_angular, shape.k_angular, s, s)),
        scales=rng.uniform(0.3, 1, size=d),
    )


def _crystal() -> dict[str, list[list[float]] | list[int]]:
    """Return fourteen atoms at least 1.8 Å apart in a skewed cell."""
    rng = np.random.default_rng(1)
    cell = np.array([[7.0, 0.3, 0.1], [-1.0, 8.0, 0.4], [0.5, 0.2, 6.5]])
    places: list[np.ndarray] = []
    while len(places) < 14:
        new = rng.uniform(size=3)
        apart = [(new - old - np.rint(new - old)) @ cell for old in places]
        if all(np.linalg.norm(vector) > 1.8 for vector in apart):
            places.append(new)
    return {
        "numbers": rng.choice([3, 39, 17], 14).tolist(),
        "positions": (np.array(places) @ cell).tolist(),
        "cell": cell.tolist(),
    }


CRYSTAL = _crystal()
