"""Names of the models that come with the package; without torch, for who only asks for names."""

CHGNET_FOLDERS = {
    "chgnet-0.3.0": "0.3.0",
    "chgnet-0.2.0": "0.2.0",
    "chgnet-r2scan": "r2scan",
}
"""Name -> folder in chgnet's wheel."""
TOY_NAMES = ("toy-soft", "toy-teacher")
MODEL_NAMES = (*CHGNET_FOLDERS, *TOY_NAMES)
