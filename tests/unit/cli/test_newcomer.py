"""What a newcomer tried who wrote campaigns and options wrongly: one line tells each mistake."""

import pytest
import yaml
from messages import assert_one_line
from places import CAMPAIGNS

TINY = (CAMPAIGNS / "tiny.yaml").read_text()


def edited(tmp_path, section, **fields):
    """Write a small campaign with other fields in a section, named as `learning.test`."""
    content = yaml.safe_load(TINY)
    place = content
    for name in filter(None, section.split(".")):
        place = place.setdefault(name, {})
    place.update(fields)
    path = tmp_path / "edited.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


# -- campaigns -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("md", "heating_ps"),
        ("md", "equilibration_ps"),
        ("md", "segment_ps"),
        ("md", "sample_interval_fs"),
        ("learning", "npt_ps"),
        ("learning", "nvt_ps"),
        ("learning.selection", "thinning_fs"),
        ("learning.test", "run_ps"),
        ("measure", "npt_ps"),
        ("measure", "nvt_ps"),
        ("measure", "sample_interval_fs"),
        ("measure.student", "run_ps"),
    ],
)
def test_a_length_below_one_time_step_is_refused_with_both_fields(section, field, lycb, tmp_path):
    path = edited(tmp_path, section, **{field: 0.0019 if field.endswith("ps") else 1.9})
    assert_one_line(lycb("plan", path), field, "1.9", "md.time_step_fs = 2")


def test_a_time_step_longer_than_a_run_is_refused(lycb, tmp_path):
    assert_one_line(lycb("plan", edited(tmp_path, "md", time_step_fs=200.0)), "time_step_fs = 200")
