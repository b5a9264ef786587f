"""Models of other programs as models of ours: one file per program."""

from .marian import MarianFileError, MarianTranslator, read_marian


__all__ = ["MarianFileError", "MarianTranslator", "read_marian"]
