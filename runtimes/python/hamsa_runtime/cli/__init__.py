"""The commands that ship to the device; argument parsing and printing only."""
