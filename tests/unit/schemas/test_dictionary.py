"""The data dictionary is what the schemas say, and every column of the catalogue has a type."""

from data_dictionary import PAGE, page

from lycb_flows.schemas import columns_of
from lycb_flows.store import all_kinds


def test_the_page_is_what_the_schemas_say():
    assert PAGE.read_text() == page(), "run python scripts/data_dictionary.py"


def test_columns_of_parts_do_not_hide_others():
    columns = {column.name: column for column in columns_of(all_kinds()["run"])}
    assert columns["temperature_k"].path == ("temperature_k",)
    assert columns["means_temperature_k"].path == ("means", "temperature_k")
    assert "thermodynamics_temperature_k" in {c.name for c in columns_of(all_kinds()["segment"])}


def test_no_kind_lists_a_column_in_tables_that_it_lacks():
    for kind in all_kinds().values():
        common = {"pressure_bar", "n_atoms", "code", "functional"}
        assert set(kind.table_columns) <= {column.name for column in columns_of(kind)} | common
