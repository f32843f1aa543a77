"""Campaigns as jobflow flows, their routing, and running them in this process."""
