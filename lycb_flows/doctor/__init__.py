"""Examination of this machine and its service."""
