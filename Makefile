# Each target runs a script of scripts/. `make demo` and `make test` install missing system packages
# with apt; without apt they list them and stop.

.PHONY: demo test test-instructions update-instructions build install deb test-cluster test-studio test-c2pa evaluate bench torch test-arm test-debian13 meson-test fuzz fuzz-repro soak

demo:
	scripts/demo

test:
	scripts/test

# Counts instructions in callgrind and fails if they exceed benches/instructions.json by 5%.
test-instructions:
	scripts/instructions check

# Writes benches/instructions.json anew.
update-instructions:
	scripts/instructions update

build:
	scripts/system-packages build
	cargo build --release --locked

# Installs plugin, command, manual pages and completions, below PREFIX (/usr/local).
install:
	scripts/install

# Builds Debian packages into build/deb.
deb:
	scripts/deb

# Tests the Python package cnnvideo-cluster; downloads Dask into a virtual environment.
test-cluster:
	scripts/test-cluster

# Tests `cnnvideo studio` in headless Chromium.
test-studio:
	scripts/test-studio

# Tests the feature c2pa of the command: content credentials.
test-c2pa:
	scripts/test-c2pa

# Writes evaluation/index.html: the elements' results on photographs and a clip.
# FULL=1 DATA=FOLDER also measures the figures of the README.
evaluate:
	scripts/evaluate

# Benchmarks, with libtorch for comparison; downloads libtorch once.
bench:
	scripts/bench

# Builds with the libtorch backend and runs its tests; downloads libtorch once.
torch:
	scripts/torch

# Runs the tests of the 64-bit ARM kernels in QEMU.
test-arm:
	scripts/test-arm

# Runs the tests of the elements with the GStreamer of Debian 13 (1.26), in a chroot; needs root.
test-debian13:
	scripts/test-debian13

# Configures, builds, tests and installs with Meson.
meson-test:
	scripts/meson-test

# Runs each of the eight fuzz targets for SECONDS seconds (10 if left out), with inputs that depend on
# SEED (another one each time if left out).
fuzz:
	scripts/fuzz run --seconds $(or $(SECONDS),10) $(if $(SEED),--seed $(SEED))

# Runs a fuzz target again with the input in FILE, which `make fuzz` has written.
fuzz-repro:
	scripts/fuzz repro "$(or $(FILE),$(error name the file: make fuzz-repro FILE=fuzz/failures/NAME))"

# Long runs of all elements: memory, leaked objects, times of frames.
soak:
	scripts/soak
