"""Measurements on this machine: what an engine executes, how fast, and on which processor."""
