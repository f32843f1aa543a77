"""The service: LaunchPad, workers, reaper, queue adapters, campaigns on them."""
