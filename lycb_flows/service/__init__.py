"""Campaigns on a FireWorks LaunchPad: workers, reaper, queue adapters, submission, status."""
