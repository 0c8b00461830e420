# make demo   set up a virtual environment, export the bundled model, and show the comparison with PyTorch
# make test   everything that has to pass before a commit
# make slow   the tests that take minutes each
# make cpp    the C++ runtime; docs/runtime-cpp.md names the packages that it needs
#
# On Linux without a GPU, PIP_EXTRA_INDEX_URL can name PyTorch's CPU wheels: they are 3 GB smaller.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
# Of the random programs of a night: SEED=20261121 make nightly repeats one.
SEED ?= $(shell date +%Y%m%d)

# Of fuzzing, for each target.
SECONDS ?= 60
FUZZED ?= manifest bundle external ir recipe safetensors checkpoint onnx image wav cache npy npz
FUZZED_CPP ?= manifest bundle external ir image npy wav onnx

# Where `make bench` keeps its tables, and the page made of them; and what hamsa_s learns for it, in half an hour.
RESULTS ?= docs/results
WEIGHTS ?= out/hamsa_s_photographs.safetensors

BIN := $(VENV)/bin
# Stamps, so that the set-up is done once and again only when what it installs has changed: both packages, and what tests need.
PACKAGES := $(VENV)/.packages
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test docs slow versions nightly faults fuzz fuzz-cpp lint bench page js types-js cpp test-cpp test-aarch64 sanitize tidy package package-cpp clean

help:
	@echo "make demo     export the bundled model to OpenVINO, and compare it with PyTorch"
	@echo "make test     lint, types and tests"
	@echo "make lint     lint and types only"
	@echo "make docs     build the documentation in out/site, strictly: a link that leads nowhere is an error"
	@echo "make slow     the tests that take minutes each: large models, built for TensorRT"
	@echo "make versions the tests that lean most on other packages, with other versions: PYTHON=python3.13 WITH='torch==2.14.1'"
	@echo "make nightly  2,000 new random programs, compared with PyTorch; more for every rule; mutants of files, read by both languages"
	@echo "make faults   every fault of tests/faults/README.md, tried: prints the table; 200 kills, some minutes"
	@echo "make fuzz     coverage-guided fuzzing of all that reads files; SECONDS=60 is for each of thirteen targets"
	@echo "make bench    all tables of measurements, an hour or two; RESULTS=docs/results is where they are kept, and a page of them"
	@echo "make page     build the page of --to web, which an export needs; make js: the JavaScript runtime's tests"
	@echo "make cpp      build the C++ runtime in build/cpp/dev; make test-cpp builds and runs its tests"
	@echo "make test-aarch64 builds it for 64-bit ARM and runs it in an emulator"
	@echo "make fuzz-cpp the same for what the C++ runtime reads, eight targets, with clang's libFuzzer (package clang)"
	@echo "make sanitize the C++ tests with address, undefined behaviour and thread sanitizers; make tidy: clang-tidy"
	@echo "make package  wheels and source distributions in dist/, installed in an empty environment and used there"
	@echo "make package-cpp the C++ runtime as .tar.gz and .deb, with its engine, in dist/"
	@echo "make clean    remove outputs and caches (not $(VENV))"

demo: $(PACKAGES)
	$(BIN)/hamsa-export --to openvino --output out/hamsa_nano-openvino-fp32
	@echo "Here    . $(BIN)/activate    # once in each shell; then"
	@echo "        hamsa run out/hamsa_nano-openvino-fp32 photo.jpg"

# Beside pip and mypy, which keep one core busy, goes what Node.js does.
test:
	$(MAKE) -j 2 lint js
	$(BIN)/python -m pytest -n $(WORKERS)

# A stamp of its own: tests need none of it.
$(VENV)/.docs: $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[docs]"
	@touch $@

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

slow: $(INSTALLED) js
	$(BIN)/python -m pytest -m slow

# Other versions than those of constraints.txt, in an environment that goes away again: a row of docs/versions.md.
versions:
	rm -rf build/versions
	$(PYTHON) -m venv build/versions
	build/versions/bin/python -m pip install --disable-pip-version-check --quiet \
	  -e runtimes/python -e ".[int8]" pytest pytest-xdist hypothesis $(WITH)
	build/versions/bin/python tests/versions.py; code=$$?; rm -rf build/versions; exit $$code

nightly: $(INSTALLED)
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest tests/spectral/test_random_programs.py --hypothesis-seed=$(SEED)
	$(BIN)/python -m pytest -n $(WORKERS) -m nightly --ignore tests/cpp/test_verdicts.py
	$(BIN)/python -m pytest -m nightly tests/cpp/test_verdicts.py

faults: $(INSTALLED)
	$(BIN)/python -m pytest tests/faults -q -m "slow or not slow"

fuzz: $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[fuzz]"
	for target in $(FUZZED); do $(BIN)/python tests/fuzz/run.py $$target --seconds $(SECONDS) || exit 1; done

# What breaks the property is kept beside the seeds, where the tests of both languages find it.
fuzz-cpp:
	$(CPP) --preset fuzz
	$(CPP) --build --preset fuzz
	for target in $(FUZZED_CPP); do \
	  mkdir -p build/cpp/fuzz/grown/$$target; \
	  build/cpp/fuzz/tests/fuzz/hamsa_fuzz_$$target build/cpp/fuzz/grown/$$target tests/fuzz/corpus/$$target \
	    -artifact_prefix=tests/fuzz/corpus/$$target/ -max_total_time=$(SECONDS) -max_len=8192 -timeout=20 \
	    -rss_limit_mb=4096 -print_final_stats=1 || exit 1; \
	done

lint: $(INSTALLED) types-js
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The page of the target web is built with Node.js; where there is none, it and its tests are left out, and that is said.
# 20.19 is the oldest that Vite 8 runs on.
JS := runtimes/js
SITE := hamsa_deploy/targets/site
NEW_ENOUGH := process.exit(+(process.versions.node.localeCompare("20.19", "en", {numeric: true}) < 0))
NPM := $(shell node -e '$(NEW_ENOUGH)' 2> /dev/null && command -v npm)
NO_NODE := echo "Node.js 20.19 with npm is missing: the page of --to web is not built, and its tests are skipped"

ifneq ($(NPM),)
js: types-js $(SITE)/index.html
	cd $(JS) && npm run --silent test && npm run --silent build
types-js: $(JS)/node_modules/.package-lock.json
	cd $(JS) && npm run --silent check
page: $(SITE)/index.html
else
js types-js:
	@$(NO_NODE)
page:
	@$(NO_NODE); exit 1
endif

$(JS)/node_modules/.package-lock.json: $(JS)/package.json $(JS)/package-lock.json
	cd $(JS) && npm ci --no-audit --no-fund --ignore-scripts
	@touch $@

$(SITE)/index.html: $(JS)/node_modules/.package-lock.json runtimes/python/hamsa_runtime/manifest.schema.json \
    $(wildcard $(JS)/src/*.ts $(JS)/page/* $(JS)/page/public/* $(JS)/*.config.ts $(JS)/tsconfig.json)
	cd $(JS) && npm run --silent page

# All that needs neither a GPU (gpu) nor a network (install_size); one at a time, whatever -j says.
MEASURE = $(BIN)/python benchmarks/$(1).py $(2) --json $(RESULTS)/$(1).json

bench: $(INSTALLED) $(WEIGHTS)
	for model in nano s; do for target in openvino onnx; do \
	  $(BIN)/hamsa-export --quiet --model hamsa_$$model --to $$target --output out/bench/$$model-$$target || exit 1; \
	done; done
	$(call MEASURE,export_time)
	$(call MEASURE,hamsa_s,--batch 1)
	$(call MEASURE,growth)
	$(call MEASURE,arm_costs)
	$(call MEASURE,short_time,--inverse)
	$(call MEASURE,scans)
	$(call MEASURE,vim)
	$(call MEASURE,native_dft)
	$(call MEASURE,fixed_files)
	$(call MEASURE,peers)
	$(call MEASURE,profile_operators)
	$(call MEASURE,plan_accuracy,--step 13)
	$(call MEASURE,precision,--only nano s speed --weights $(WEIGHTS))
	$(BIN)/python benchmarks/precision.py --only pays --models hamsa_s --batch 1 8 --json $(RESULTS)/precision_pays.json
	$(call MEASURE,accuracy)
	$(call MEASURE,ablation,--weights $(WEIGHTS))
	$(call MEASURE,tensorrt_builds,--weights hamsa_s=$(WEIGHTS))
	$(call MEASURE,runtime,out/bench/s-openvino out/bench/s-onnx --threads 1)
	$(call MEASURE,embed,out/bench/nano-openvino)
	$(call MEASURE,soak,out/bench/nano-onnx out/bench/nano-openvino)
	$(BIN)/python benchmarks/results.py $(RESULTS)

$(WEIGHTS): | $(INSTALLED)
	$(BIN)/python benchmarks/train_on_photographs.py --output $@

# CMake finds OpenVINO in the pip package of the virtual environment.
CPP := cd runtimes/cpp && cmake
CPP_OPTIONS = -DOpenVINO_DIR="$$($(abspath $(BIN))/python -c 'import hamsa_runtime.backends.openvino; from openvino.utils import get_cmake_path; print(get_cmake_path())')"

cpp: $(INSTALLED)
	$(CPP) --preset dev $(CPP_OPTIONS)
	$(CPP) --build --preset dev

# Built again with less optimisation and in few units, in half of the time; pytest uses the same build.
test-cpp: $(INSTALLED)
	$(CPP) --preset test $(CPP_OPTIONS)
	$(CPP) --build --preset test
	cd runtimes/cpp && ctest --preset test

# The C++ runtime for 64-bit ARM, built here and run by an emulator. Packages, after dpkg --add-architecture arm64:
#   apt install g++-aarch64-linux-gnu qemu-user nlohmann-json3-dev doctest-dev
#   apt install libstdc++6:arm64 libssl-dev:arm64 libjpeg62-turbo-dev:arm64 libpng-dev:arm64
ARM_PROGRAMS := aarch64-linux-gnu-g++ qemu-aarch64 cmake ninja
ARM_OPENVINO_VERSION := $(shell sed -n 's/^openvino==//p' constraints.txt)
ARM_OPENVINO := build/aarch64/openvino-$(ARM_OPENVINO_VERSION)

$(ARM_OPENVINO): | $(INSTALLED)
	$(BIN)/python -m pip download --disable-pip-version-check --no-deps --only-binary :all: --dest build/aarch64 \
	  --platform manylinux_2_35_aarch64 --python-version 3.11 openvino==$(ARM_OPENVINO_VERSION)
	$(BIN)/python -m zipfile -e build/aarch64/openvino-$(ARM_OPENVINO_VERSION)-*.whl $@.part
	mv $@.part $@

test-aarch64: $(INSTALLED) $(ARM_OPENVINO)
	@for program in $(ARM_PROGRAMS); do \
	  PATH="$(abspath $(BIN)):$$PATH" command -v $$program > /dev/null || { echo "$$program is missing: the packages are named in the Makefile"; exit 1; }; \
	done
	$(CPP) --preset aarch64 -DOpenVINO_DIR=$(abspath $(ARM_OPENVINO))/openvino/cmake
	$(BIN)/python -m pytest -m slow tests/cpp/test_aarch64.py

sanitize: $(INSTALLED)
	for preset in asan tsan; do \
	  (cd runtimes/cpp && cmake --preset $$preset $(CPP_OPTIONS) && cmake --build --preset $$preset && ctest --preset $$preset) || exit 1; \
	done

tidy: cpp
	cd runtimes/cpp && clang-tidy -p ../../build/cpp/dev --quiet src/*.cpp src/backends/openvino.cpp src/backends/table.cpp src/tensorrt/options.cpp src/tensorrt/plans.cpp tools/*.cpp

# What a release uploads. The environment sees nothing of this one, and gets every dependency from the index.
# -I: neither the folder of the script nor PYTHONPATH is looked into.
PACKAGED := build/package

package: $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[package]"
	rm -rf dist/hamsa_* $(PACKAGED)
	$(BIN)/python -m tests.packaging.distributions dist
	$(BIN)/python -m twine check --strict dist/hamsa_*
	$(PYTHON) -m venv $(PACKAGED)
	$(PACKAGED)/bin/python -I -m pip install --disable-pip-version-check --quiet -c constraints.txt dist/*.whl
	$(PACKAGED)/bin/python -I -m pip check
	mkdir $(PACKAGED)/empty
	cd $(PACKAGED)/empty && ../bin/python -I $(CURDIR)/tests/packaging/installed.py
	$(BIN)/python -m pytest -q -m "slow or not slow" tests/packaging

package-cpp: $(INSTALLED)
	$(CPP) --preset release $(CPP_OPTIONS)
	$(CPP) --build --preset release
	cd build/cpp/release && cpack -B $(CURDIR)/dist

clean:
	rm -rf out build dist *.egg-info runtimes/python/build runtimes/python/*.egg-info $(JS)/dist $(JS)/node_modules $(SITE)
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path "./$(VENV)/*" -prune -exec rm -rf {} +

$(PACKAGES): pyproject.toml runtimes/python/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, for example: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e runtimes/python -e .
	@touch $@

$(INSTALLED): $(PACKAGES)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e runtimes/python -e ".[test,bench,int8]"
	@touch $@
