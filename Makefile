# Everything a newcomer needs, set-up included: make report, make test, make lab, make docs.

# The newest supported Python on this machine, unless one is named: make PYTHON=...
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
# The backend is set by the package itself; this is for notebooks that begin with Keras.
export KERAS_BACKEND ?= jax
# Where the machine has certificates of its own, they know the network it is in.
CERTIFICATES := $(wildcard /etc/ssl/certs/ca-certificates.crt \
	/etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem)
export UV_SYSTEM_CERTS ?= $(if $(CERTIFICATES),true,false)

.PHONY: report test lab docs install compilers lock clean

report: install  ## run the main job at laptop scale and print the path of its report
	@$(BIN)/lamb-keras run --scale laptop

test: install  ## run all tests
	@$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

lab: install  ## open the notebooks in JupyterLab; its address with the token is printed
	@$(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks \
		$$(test "$$(id -u)" != 0 || echo --allow-root) $(ARGS)

docs: install .venv/docs/.installed  ## make the documentation and print its first page
	@PYTHONPATH=.venv/docs $(BIN)/python -m sphinx -qEW --keep-going -c docs . docs/_build
	@echo docs/_build/index.html

install: .venv/.installed

# The lock's own uv installs the lock: what is downloaded is checked against its hashes.
.venv/.installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "lamb-keras needs Python 3.11, 3.12 or 3.13 and found \
	none: install one, or name one with make PYTHON=/path/to/python." >&2; exit 1; }
	@test -x $(BIN)/uv || $(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make a \
	virtual environment: install its venv module (Debian: python3-venv)." >&2; exit 1; }
	@test -x $(BIN)/uv || { awk '/^[^ ]/ {keep = /^uv==/} keep' requirements.lock \
		> .venv/uv.lock && $(BIN)/python -m pip install --quiet \
		--disable-pip-version-check --require-hashes -r .venv/uv.lock; }
	@echo "Installing the locked packages into .venv ..."
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps \
		--no-build-isolation --editable .
	@touch $@

# Beside the environment and not in it, where JAX would look for a TPU and a GPU.
compilers: install .venv/compilers/.installed  ## install XLA's for a TPU and a GPU

# What only documentation and compilers take; the locks agree with the environment's.
.venv/%/.installed: %.lock | .venv/.installed
	@echo "Installing the locked $* into .venv/$* ..."
	@rm -rf .venv/$*
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes \
		--target .venv/$* -r $*.lock
	@touch $@

lock: install  ## renew the locks after a change of pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--fork-strategy fewest --generate-hashes --upgrade --no-emit-index-url \
		--no-annotate --no-header --group test --group install --all-extras \
		--output-file requirements.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --upgrade --no-emit-index-url --no-annotate --no-header \
		--group compilers --output-file compilers.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--fork-strategy fewest --generate-hashes --upgrade --no-emit-index-url \
		--no-annotate --no-header --constraint requirements.lock \
		--group docs --output-file docs.lock

clean:  ## remove the environment and caches; results in outputs/ stay
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
