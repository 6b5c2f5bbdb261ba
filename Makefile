# Waiting OpenMP threads sleep: spinning ones of two processes on the same cores slow each other a hundred times.
export OMP_WAIT_POLICY ?= PASSIVE
# One cache of compiled Python for tests and hosts: pip compiles nothing, which saves a third of the time to set up.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.comfyui/pycache
unexport PYTHONDONTWRITEBYTECODE
# Files here are UTF-8, whatever the machine's language.
export PYTHONUTF8 := 1
PYTHON := .venv/bin/python

.PHONY: setup demo test clean

setup: ## environment, data and a real ComfyUI, in .venv and .comfyui; nothing to do the second time
	@.ci/setup

demo: ## learn a schedule in ComfyUI and compare it with the built-in ones: build/demo/
	@.ci/setup demo
	@$(PYTHON) -m benchmarks.demo

test: setup ## style, the oldest Python, then every test; a skipped test counts as failed (tests/conftest.py)
	$(PYTHON) -m ruff check .
	@# No more of Python's own library than users' oldest interpreter has.
	$(PYTHON) -c 'import sys; from vermin import main; sys.exit(main())' --quiet --no-tips --target=3.10- art_nodes __init__.py install.py
	@# Two processes of one thread each: these models are so small that a second thread hardly helps.
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=10

clean: ## removes what demo and tests made; .venv, the installed ComfyUI and what benchmarks have measured stay
	rm -rf build/demo build/lib build/bdist.* .pytest_cache .ruff_cache .hypothesis .comfyui/base* .comfyui/logs
