.PHONY: quality style test test-long conformance mutate docs quickstart

quality:  ## what CI checks besides the tests
	ruff check .
	ruff format --check .

style:  ## mend what can be mended
	ruff check --fix .
	ruff format .

test:  ## unit tests and smoke runs of the recipes
	python -m pytest -n 2 --dist loadfile

test-long:  ## kill tests and quality runs: minutes to hours
	python -m pytest -m long

conformance:  ## transformers' common test suite on every class; CONFORMANCE_TESTS=DIR names a checkout of transformers
	python -m pytest conformance -q -rs

mutate:  ## 200 faults in the code by a fixed seed: which of them do the tests nearest to them notice?
	python -m mutation

docs:  ## the site, into site/, without a network; a warning stops it
	python -m docs

quickstart:  ## the README's first command, in the current environment
	pip install -e ".[samples]" -c constraints.txt
	accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/sentiment_analysis.py
