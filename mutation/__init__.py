"""Do the tests notice faults? Faults are put into the code one at a time, and the tests nearest to each are run."""
