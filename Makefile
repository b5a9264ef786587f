.PHONY: quality style test test-long conformance quickstart

quality:  ## what CI checks besides the tests
	ruff check .
	ruff format --check .

style:  ## mend what can be mended
	ruff check --fix .
	ruff format .

test:  ## unit tests and smoke runs of the recipes
	python -m pytest

test-long:  ## kill tests and quality runs: minutes to hours
	python -m pytest -m long

conformance:  ## transformers' common test suite on every class; CONFORMANCE_TESTS=DIR names a checkout of transformers
	python -m pytest conformance -q -rs

quickstart:  ## the README's first command, in the current environment
	pip install -e ".[samples]" -c constraints.txt
	accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/sentiment_analysis.py
