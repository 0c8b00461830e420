"""One file per engine that a program can be packed for."""
