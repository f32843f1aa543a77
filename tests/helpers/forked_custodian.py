"""Custodian's process as a fork of a warmed one: python forked_custodian.py ADDRESS FOLDER."""

import sys

from lycb_flows.testing.vasp_server import run_by_server

run_by_server(sys.argv[1], sys.argv[2:], "lycb_flows.labels.vasp.process")
