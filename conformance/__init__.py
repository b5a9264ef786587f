"""Transformers' common test suite, run on the classes of seqnlp; `make conformance`."""
