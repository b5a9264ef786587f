"""Processes that tests start, each forked from one that has imported everything and done nothing else."""

from multiprocess import get_context  # multiprocessing's, of which functions within functions are passed on, too


# What takes long to import in any test, by names that need no path of the tests.
IMPORTED = ["seqnlp.publishing", "seqnlp.training", "seqnlp.data", "seqnlp.visualization.music", "seqnlp.metrics"]
IMPORTED += ["sklearn.linear_model", "sklearn.neighbors", "sklearn.feature_extraction.text", "sklearn.datasets"]
IMPORTED += [
    "matplotlib.pyplot",
    "music21",
    "accelerate",
    "pytest",
    "transformers.data",
    "transformers.generation",
    "torch._dynamo",
]

CLEAN = get_context("forkserver")
"""
Forked from the process of the tests, others would share the locks of threads that tests have started in it, and wait
for them without an end. Of that process they know what they are passed, and nothing that it has patched.
"""
CLEAN.set_forkserver_preload(IMPORTED)
