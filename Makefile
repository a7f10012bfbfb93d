# Everything runs in .venv, which is made when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
export STN_BUILD := require
PIP := $(BIN)/python -m pip -q
INSTALL := $(PIP) install -c constraints.txt
SOURCES := pyproject.toml setup.py constraints.txt $(wildcard src/spatial_transformer/ops/cpu/*.cpp src/spatial_transformer/ops/cpu/*.h)
# in two processes of one thread each; JOBS= says otherwise
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
DEMO := demo
TRAIN := $(BIN)/stn train --data rts --recipe demo --device cpu --out $(DEMO)

# the oldest versions that pyproject.toml admits, beside .venv; the kernels are the same
OLDEST := .venv-oldest
FAST := -m "not slow and not network"

.PHONY: help demo browser test fast oldest machines shuffled check format coverage wheel bench docs pairs clean

help:
	@echo "make demo    train ST-CNN and CNN on distorted digits, show errors, write a picture"
	@echo "make browser install Debian's Chromium (as root), for the tests of stn demo"
	@echo "make test    all tests"
	@echo "make fast    the tests that take no time"
	@echo "make oldest  these with the oldest versions that pyproject.toml admits"
	@echo "make machines these as lesser processors run them"
	@echo "make shuffled these in random order, with one and with two threads"
	@echo "make check   format, lint, types, layers, then all tests"
	@echo "make coverage what of Python and C++ the fast tests run"
	@echo "make wheel   a wheel for every Python of this platform, into dist/"
	@echo "make pairs   every transform, sampler and padding against ONNX Runtime"
	@echo "make bench   measure speed and memory side by side with torch, kornia and OpenCV"
	@echo "make docs    build the documentation into site/"

$(CORE): $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing torch and compiling the C++ backend (a few minutes; once)"
	$(INSTALL) -e ".[experiments]"
	touch $@

# what the package itself needs is there: nothing is compiled again
$(DEV): $(CORE)
	$(BIN)/python -m tools.requirements dev > $(VENV)/dev.txt
	$(INSTALL) -r $(VENV)/dev.txt
	touch $@

demo: $(CORE)
	$(TRAIN) --model st_cnn
	$(TRAIN) --model cnn
	$(BIN)/stn show $(DEMO)/table1-demo/rts--st_cnn_affine--seed0 --seed 2 --out $(DEMO)/st_cnn.png
	$(BIN)/stn report $(DEMO)
	@echo "The picture is $(DEMO)/st_cnn.png"

# Debian's Chromium, which the demo's tests drive; nothing where there is one
browser:
	@command -v chromium || { test "$$(id -u)" = 0 && apt-get update -q && apt-get install -qy chromium; } \
		|| { echo "no Chromium, and not root: apt install chromium"; exit 1; }

test: $(DEV)
	$(PYTEST)

fast: $(DEV)
	$(PYTEST) $(FAST)

# Processors without oneDNN's, torch's and our own better instructions, on any processor. Those that
# it has not itself are left out: what is held to them is held to what there is.
machines: $(DEV)
	$(PYTEST) $(FAST) --no-onednn
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(PYTEST) $(FAST)
	STN_CPU_CAPABILITY=baseline $(PYTEST) $(FAST)
	STN_CPU_CAPABILITY=avx2 $(PYTEST) $(FAST)

# in random order, with one and with two threads
shuffled: $(DEV)
	$(PYTEST) -p randomly $(FAST)
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -p randomly $(FAST)

# dist/: for every Python of a platform, with what it links to
wheel: $(DEV)
	rm -rf build/wheel
	$(PIP) wheel --no-deps -w build/wheel .
	PATH=$(BIN):$$PATH $(BIN)/python -m auditwheel repair -w dist build/wheel/*.whl
	@ls -l dist

# branches of Python and lines of C++ that the fast tests run; a line of C++ counts once, whichever
# instruction set runs it
coverage: $(DEV)
	rm -rf build/coverage
	CFLAGS=--coverage CXXFLAGS=--coverage LDFLAGS=--coverage $(BIN)/python setup.py -q build --build-base build/coverage
	OMP_NUM_THREADS=1 PYTHONPATH=$$(echo build/coverage/lib*) $(BIN)/python -m coverage run -m pytest tests $(FAST)
	$(BIN)/python -m coverage report --skip-covered --fail-under=90
	$(BIN)/python -m gcovr --root . --object-directory build/coverage --merge-lines \
		--exclude '.*/unit_.*' --fail-under-line 80

oldest: $(CORE)
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(PYTHON) -m tools.requirements --oldest > $(OLDEST)/requirements.txt
	$(OLDEST)/bin/python -m pip install -q -r $(OLDEST)/requirements.txt
	PYTHONPATH=src OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -n $(JOBS) -W default $(FAST)

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV)
	$(BIN)/python -m benchmarks.distortions
	$(BIN)/python -m benchmarks.bench_warp
	$(BIN)/python -m benchmarks.bench_sample
	$(BIN)/python -m benchmarks.bench_step
	$(BIN)/python -m benchmarks.demo
	$(BIN)/python -m benchmarks.import_time
	$(BIN)/python -m tools.tables README.md
	$(BIN)/python -m tools.speed docs/images/benchmark.png
	$(BIN)/python -m tools.tables docs/benchmarks.md docs/demo.md

docs: $(DEV)
	$(BIN)/python -m tools.tables docs/results.md
	$(BIN)/python -m docs.site.notebook
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo "See it with: $(BIN)/python -m http.server -d site"

pairs: $(DEV)
	$(BIN)/python -m benchmarks.export_pairs
	$(BIN)/python -m tools.tables docs/export.md

clean:
	rm -rf $(VENV) $(OLDEST) build dist demo site
