# Everything starts from nothing but Python 3.11, git and make: `make demo`, `make test`, `make test-latest`, `make lint`;
# `make bench` needs data and, for their columns, the peers (benchmarks/README.md).

PYTHON ?= python3.11
IO := .venv
LATEST := .venv-latest
DEMO := demo

.PHONY: help demo test test-latest lint bench resolve-cuda constraints clean

help:
	@echo "make demo         make a data set, convert, train, evaluate, export, predict (TensorFlow 2.16.2 + tensorflow-io)"
	@echo "make test         the tests on TensorFlow 2.16.2 + tensorflow-io"
	@echo "make test-latest  the tests on the newest TensorFlow"
	@echo "make lint         ruff"
	@echo "make bench        kseg beside its peers, measured in turn (benchmarks/README.md; BENCH='--rows=input' for a part)"
	@echo "make resolve-cuda checks that the extra 'cuda' resolves to installable versions"
	@echo "make constraints  pins both stacks anew (constraints/*.txt)"
	@echo "make clean        removes environments and the demo's files"

# An environment is made once and again when the pins or pyproject.toml change.
$(IO)/.made: pyproject.toml constraints/tf-2.16.txt
	@$(call environment,$(IO),constraints/tf-2.16.txt,io)

# What only the tests need (Apache Beam, an S3 server, TF Model Garden), so that the demo does not wait for it.
$(IO)/.made-test: $(IO)/.made constraints/model-garden.txt
	@$(IO)/bin/pip install --quiet --disable-pip-version-check --constraint constraints/tf-2.16.txt --editable '.[io,dev]' && \
	$(IO)/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement constraints/model-garden.txt && touch $@

$(LATEST)/.made: pyproject.toml constraints/tf-latest.txt
	@$(call environment,$(LATEST),constraints/tf-latest.txt,dev)

define environment
	echo "making $(1) (takes some minutes the first time)"; \
	bash make_venv.sh $(PYTHON) $(1) && \
	$(1)/bin/pip install --quiet --disable-pip-version-check --constraint $(2) --editable '.[$(3)]' && touch $(1)/.made
endef

demo: $(IO)/.made
	@PATH="$(CURDIR)/$(IO)/bin:$$PATH" bash demo.sh $(DEMO)

# A file's tests stay in one process, for the runs they share; building graphs keeps one core busy, so two help.
PYTEST := -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder --max-worker-restart=0

test: $(IO)/.made-test
	$(IO)/bin/python $(PYTEST)

test-latest: $(LATEST)/.made
	$(LATEST)/bin/python $(PYTEST)

lint: $(IO)/.made-test
	$(IO)/bin/ruff check .
	$(IO)/bin/ruff format --check .

bench: $(IO)/.made
	$(IO)/bin/python -m benchmarks.run $(BENCH)

# Resolved, not installed: the CUDA libraries are gigabytes and CI has no GPU.
resolve-cuda: $(IO)/.made-test
	$(IO)/bin/uv pip compile --quiet --python-version 3.11 --extra cuda pyproject.toml | grep nvidia-cudnn

COMPILE = $(IO)/bin/uv pip compile --quiet --upgrade --no-annotate --python-version 3.11 --custom-compile-command "make constraints"
constraints:
	test -x $(IO)/bin/uv || { $(PYTHON) -m venv $(IO) && $(IO)/bin/pip install --quiet uv; }
	$(COMPILE) --extra io --extra dev pyproject.toml --output-file constraints/tf-2.16.txt
	$(COMPILE) --extra dev pyproject.toml --output-file constraints/tf-latest.txt

clean:
	rm -rf $(IO) $(LATEST) $(DEMO)
