# Thin: the work is in scripts/. `make demo` and `make test` install what is missing (apt, where there is apt).

.PHONY: demo test build evaluate bench torch test-arm meson-test fuzz

demo:
	scripts/demo

test:
	scripts/test

build:
	scripts/system-packages build
	cargo build --release --locked

# A page with what the elements do: evaluation/index.html. FULL=1 DATA=FOLDER repeats the README's figures too.
evaluate:
	scripts/evaluate

# Needs libtorch for the comparison; fetches it once.
bench:
	scripts/bench

# Builds with the libtorch backend and runs its tests; fetches libtorch once.
torch:
	scripts/torch

# Runs the tests of the kernels for 64-bit ARM in an emulator.
test-arm:
	scripts/test-arm

meson-test:
	scripts/meson-test

fuzz:
	# What is found goes into the first folder; the second gives seeds.
	mkdir -p fuzz/corpus/model
	cargo +nightly fuzz run model fuzz/corpus/model models -- -max_total_time=60
