# make run: install and run the main job.  make test: install and test.  Both need Python >= 3.11 and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data/cs224n

.PHONY: run test test-cluster lint install reference reference-digits pages docs bench bench-own-loop bench-problem \
  bench-map bench-methods bench-batched clean

run: $(VENV)/.installed
	$(BIN)/mtlbench run --methods stl,sum,pcgrad --seeds 3
	$(BIN)/mtlbench report

# Bytecode is written, even where the shell says otherwise: each process would compile all tests again. Files are taken
# in the order of tests/conftest.py, the longest first, and not by their number of tests.
test: $(VENV)/.installed-test
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test-cluster: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -m cluster tests/execute

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(VENV)/.installed

# The committed reference results, about a day of one core: cells that are done are skipped, so that it can be stopped
# and goes on. DATA is a folder with the CS224N files.
RUNGS := 1-paper 2-rate 3-cross 4-scales 5-proportional 5-sqrt 5-annealed 6-warmup 7-heads
REFERENCE := --data-dir $(DATA) --results results/reference
TUNING := results/reference-tuning

reference: $(VENV)/.installed
	$(BIN)/mtlbench run --suite cs224n-small $(REFERENCE)
	$(BIN)/mtlbench run --suite cs224n-longer $(REFERENCE)
	$(BIN)/mtlbench run --suite cs224n-alone $(REFERENCE)
	for rung in $(RUNGS); do $(BIN)/mtlbench run --suite ladder-$$rung $(REFERENCE) || exit; done
	$(BIN)/mtlbench run --suite cs224n-small --methods 'fairgrad,fixed[w=1:1:2/2:1:1/1:2:1]' $(REFERENCE)
	$(BIN)/mtlbench tune --suite cs224n-small --methods sum,fixed,pcgrad,cagrad --trials 8 --steps 100 --lr 5e-5:8e-4 \
	  --data-dir $(DATA) --results $(TUNING)
	$(BIN)/mtlbench run --suite cs224n-small --methods @$(TUNING)/tuned.json $(REFERENCE)
	$(BIN)/mtlbench study --results results/reference --tuned $(TUNING)/tuned.json --output results/reference
	$(BIN)/mtlbench report --results results/reference --format html --output results/reference/report.html

# Every method of the catalogue on images of digits, tuned alike, 20 seeds each: some hours of one core; it goes on where
# it was stopped. Committed are the records without their side files, and the report, whose figures need these.
DIGITS := results/reference/digits
DIGITS_TUNING := results/reference-digits-tuning
DIGITS_FULL := results/reference-digits-full

reference-digits: $(VENV)/.installed
	$(BIN)/mtlbench tune --suite digits --methods all --trials 8 --lr 1.25e-3:2e-2 \
	  --results $(DIGITS_TUNING)
	$(BIN)/mtlbench run --suite digits --methods @$(DIGITS_TUNING)/tuned.json --seeds 20 --results $(DIGITS_FULL)
	$(BIN)/mtlbench merge $(DIGITS_FULL) --into $(DIGITS) --without history,predictions
	cp $(DIGITS_TUNING)/tuned.json $(DIGITS_TUNING)/tuning.svg $(DIGITS)
	$(BIN)/mtlbench report --results $(DIGITS_FULL) --format html --output $(DIGITS)/report.html

# The committed pages about methods: what each is, and whether it keeps what it claims.
pages: $(VENV)/.installed-test
	$(BIN)/mtlbench list methods --markdown > docs/methods.md
	OMP_NUM_THREADS=1 $(BIN)/mtlbench check --all --matrices 200 --jobs 2 --format markdown --output docs/certificate.md

# The documentation as a site, in site/; a dead link is an error.
docs: $(VENV)/.installed-docs
	$(BIN)/python docs/site_pages.py

# Time whole steps of the engines beside their peers: about 20 minutes, on an idle machine.
bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.engine --output .benchmarks-engine.json
	$(BIN)/python benchmarks/engine_page.py .benchmarks-engine.json > benchmarks/engine.md

# Time surgery in a user's own loop beside the plain sum and TorchJD: about 25 minutes, on an idle machine.
bench-own-loop: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.own_loop --output .benchmarks-own-loop.json
	$(BIN)/python benchmarks/own_loop_page.py .benchmarks-own-loop.json > benchmarks/own_loop.md

# Time steps of a small problem beside a plain loop and TorchJD: about a minute, on an idle machine.
bench-problem: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.problem --write

# Time cells of the map, and compare them with the ordinary trainer's: about a minute, on an idle machine.
bench-map: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.map --write

# Time batched methods beside single calls: about a minute, on an idle machine.
bench-batched: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.batched --write

# Fuzz every method, and time it beside a peer; one thread, on an idle machine.
bench-methods: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fuzz.py --output benchmarks/fuzz.md
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q benchmarks/test_methods.py --benchmark-json=.benchmarks.json
	$(BIN)/python benchmarks/methods_page.py .benchmarks.json > benchmarks/methods.md

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first: it is the large one, and the pin must decide which build is taken
$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[offline]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[offline,test,lint,slurm]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[offline,docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info
