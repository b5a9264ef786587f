"""Measurements: what the recipes reached, and (later) how fast."""
