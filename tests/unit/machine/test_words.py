"""Durations, counts and sizes in words."""

import pytest

from lycb_flows.machine import counted, duration_text, size_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.0431, "0.043 s"),
        (119.4, "119 s"),
        (120.0, "2 min"),
        (7199.0, "120 min"),
        (9000.0, "2.5 h"),
        (3 * 86400.0, "3 days"),
        (1e11, "3,169 years"),
    ],
)
def test_a_duration_is_told_in_a_unit_that_a_person_would_choose(seconds, text):
    assert duration_text(seconds) == text


def test_counts_and_sizes_read_as_a_person_says_them():
    assert [counted(n, "label") for n in (0, 1, 1200)] == [
        "0 labels",
        "1 label",
        "1,200 labels",
    ]
    assert counted(2, "process", "processes") == "2 processes"
    sizes = [size_text(n) for n in (1, 1_234, 3_468_536)]
    assert sizes == ["1 byte", "1.2 kB", "3.5 MB"]
