"""The labs: nine notebooks with exercises and checks, each built from one source."""
