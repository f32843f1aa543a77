"""What tests of both kinds of store share."""

import pytest

from lycb_flows.store import open_store


@pytest.fixture(params=["folder", "mongodb"])
def store(request, tmp_path):
    folder = request.param == "folder"
    opened = open_store(tmp_path / "store" if folder else request.getfixturevalue("mongo_uri"))
    yield opened
    opened.close()
