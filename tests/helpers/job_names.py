"""What the names of jobs say, as before jobs carried fields: names and fields must agree."""

_CATEGORIES = {
    "rank": "gpu", "md": "gpu", "train": "gpu", "evaluate": "gpu", "distil": "gpu", "label": "dft",
    "dft-relax": "dft",
}  # fmt: skip


def category_by_name(name):
    return _CATEGORIES.get(name.split()[0], "light")


def step_by_name(name):
    first = name.split()[0]
    return {"decide dft": "decide-dft", "evaluate final": "choose"}.get(
        " ".join(name.split()[:2]), first
    )
