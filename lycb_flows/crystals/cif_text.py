"""The text of a CIF before it is parsed: its encoding, and what the parser would misread.

Tags and words of the language do not depend on case, and a text field may hold any line (Hall,
Allen and Brown, Acta Cryst. A 47, 655 (1991)).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lycb_flows.errors import InputError

_TEXT_FIELD = re.compile(r"^;.*?^;", re.MULTILINE | re.DOTALL)
_NOT_LINE_END = re.compile(r"[^\n]")
_BLOCK = re.compile(r"^[ \t]*data_(\S*)", re.MULTILINE)
_HEADER = re.compile(r"^[ \t]*data_", re.MULTILINE | re.IGNORECASE)
_RESERVED = re.compile(r"^([ \t]*)(data_|loop_|save_|global_|stop_)", re.MULTILINE | re.IGNORECASE)
_FIRST_TAG = re.compile(r"^([ \t]*)(_\S+)", re.MULTILINE)
_SINGLE = re.compile(
    r"^[ \t]*(_(?:cell|symmetry|space_group)_\S+)[ \t]+(\S.*?)[ \t\r]*$", re.MULTILINE
)
_AXES, _ANGLES = ("a", "b", "c"), ("alpha", "beta", "gamma")
_TAGS = (
    *(f"_cell_length_{axis}" for axis in _AXES),
    *(f"_cell_angle_{angle}" for angle in _ANGLES),
    "_cell_formula_units_Z",
    "_symmetry_space_group_name_H-M",
    "_space_group_name_H-M_alt",
    "_symmetry_Int_Tables_number",
    "_space_group_IT_number",
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop_operation_xyz",
    "_chemical_formula_sum",
    "_chemical_formula_structural",
    "_atom_site_label",
    "_atom_site_type_symbol",
    *(f"_atom_site_fract_{axis}" for axis in "xyz"),
    "_atom_site_occupancy",
)
_PLACE = re.compile(r"string:(\d+):\d+\(\d+\): (.*)", re.DOTALL)
_SPELT = {tag.lower(): tag for tag in _TAGS}


def decoded(content: bytes) -> str:
    """Return the text of a file in UTF-8, UTF-16 with a mark, or else Latin-1."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def parseable(name: str, text: str) -> str:
    """Return the text as the parser must see it: one spelling of tags, no headers in text fields.

    Parameters
    ----------
    name
        Name of the crystal, for messages.
    text
        The file.

    Raises
    ------
    InputError
        When two blocks have one name, or a tag of the cell or the symmetry has two values.
    """
    text = _TEXT_FIELD.sub(lambda field: field[0].replace("data_", "data-"), text)
    text = _RESERVED.sub(lambda word: word[1] + word[2].lower(), text)
    text = _FIRST_TAG.sub(lambda tag: tag[1] + _SPELT.get(tag[2].lower(), tag[2]), text)
    headers = [header[1].lower() for header in _BLOCK.finditer(text)]
    _check_once(name, "two blocks of a CIF have one name", ((header, "") for header in headers))
    for block in _BLOCK.split(text)[2::2]:
        tags = {(tag[1], tag[2]) for tag in _SINGLE.finditer(_TEXT_FIELD.sub("", block))}
        _check_once(name, "a tag of a CIF has two values", iter(sorted(tags)))
    return text


def check_syntax(text: str) -> None:
    """Check that a file is CIF from its first block on; pymatgen reads on after most errors.

    What stands before the first block says nothing of a crystal, and no program reads it.

    Parameters
    ----------
    text
        The file.

    Raises
    ------
    ValueError
        With the line, where it is not.
    """
    import gemmi  # noqa: PLC0415 - a tenth of a second

    header = _HEADER.search(_TEXT_FIELD.sub(lambda field: _NOT_LINE_END.sub(" ", field[0]), text))
    start = header.start() if header else 0
    try:
        gemmi.cif.read_string("\n" * text[:start].count("\n") + text[start:])
    except (ValueError, RuntimeError) as err:
        place = _PLACE.match(str(err))
        message = f"line {place[1]}: {place[2]}" if place else str(err)
        raise ValueError(message) from err


def _check_once(name: str, message: str, found: Iterator[tuple[str, str]]) -> None:
    known: dict[str, str] = {}
    for tag, text in found:
        if tag in known:
            values = {"found": f"{known[tag]} and {text}"} if text else {}
            raise InputError(message, fix="keep one of them", file=name, name=tag, **values)
        known[tag] = text


def defect(text: str, reason: str) -> tuple[str, str]:
    """Return what is wrong with a file that the parser cannot read, and what to do about it.

    Parameters
    ----------
    text
        What was given to the parser.
    reason
        What the parser says.
    """
    if "exceeded tolerance" in reason:
        what = "the occupancies of a site sum to more than one"
        return what, "mend them: symmetry brings sites of the CIF together"
    if not text.strip():
        return "the CIF is empty", "copy or download it again"
    if not _BLOCK.search(text):
        return "the file is no CIF: no line begins with data_", "give a CIF"
    tags = {tag[2] for tag in _FIRST_TAG.finditer(text)}
    lacking = [tag for tag in _TAGS[:6] if tag not in tags]
    if lacking:
        return f"a CIF without a whole cell: no {lacking[0]}", "add the cell; is the file cut off?"
    lacking = [
        f"_atom_site_fract_{axis}" for axis in "xyz" if f"_atom_site_fract_{axis}" not in tags
    ]
    if lacking:
        return f"a CIF without sites: no {lacking[0]}", "add the sites; is the file cut off?"
    return "unreadable CIF", "mend it there: a value with blanks needs quotes; is the file cut off?"
