# The way in. `make demo` and `make test` work on a fresh Debian 12: they install what is missing,
# build, and go. Everything here is a line or two over scripts/ and CMakePresets.json.
.DEFAULT_GOAL := build
.PHONY: setup build demo test asan bench format tidy clean help

help:    ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 16

setup:   ## install the Debian packages that are missing (scripts/packages.txt)
	@scripts/setup.sh

build: setup   ## build/nibble and the library
	@scripts/build.sh release nibble_cli

demo: build   ## quantize the small model in data/, let it write, compare perplexities
	@scripts/demo.sh

test: setup   ## build everything and run every test, the unit tests under the sanitizers too
	@scripts/build.sh release -DNIBBLE_SANITIZED_TESTS=ON
	@ctest --test-dir build -j 2 --output-on-failure

asan: setup   ## the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer alone
	@scripts/build.sh release -DNIBBLE_SANITIZED_TESTS=ON sanitized_tests
	@ctest --test-dir build -j 2 --output-on-failure -L sanitized

bench: setup   ## the kernel benchmarks
	@scripts/build.sh release -DNIBBLE_BUILD_BENCH=ON
	@for program in build/bench_*; do "$$program" || exit; done

format: setup   ## format the C++ sources with clang-format 14
	@scripts/format.sh

tidy: setup   ## clang-tidy over the sources (needs clang-tidy-14; slow)
	@scripts/tidy.sh

clean:   ## remove the build folders
	rm -rf build build-debug
