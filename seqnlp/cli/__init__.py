"""The command `seqnlp`: one file a verb, each a thin layer over the library."""
