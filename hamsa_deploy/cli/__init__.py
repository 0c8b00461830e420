"""The commands: one file each, for arguments and printing. What they share is in console.py and parser.py."""
