"""What a run and its results tell: on the terminal, on pages, in tables."""
