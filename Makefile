# The commands of this repository. `verify` checks and writes nothing outside the target directory and temporary
# folders; `fix` and `bless` change files; CONTRIBUTING.md has the table.
#
# Builds: the root package's tests depend on it with every feature, so `cargo test --workspace` builds what
# `--all-features` would, and the examples and dev dependencies come out of the same build. Clippy and rustdoc share
# one set of checked crates. The release profile is built with default features for the program, and once more for the drill,
# whose dev dependencies turn the others on.

.NOTPARALLEL:
.PHONY: help verify check-fmt check-clippy check-tests check-doc check-examples check-demo check-python check-models
.PHONY: check-instructions drill fix bless test doc bench stages instructions

help:
	@echo 'make verify       everything that has to pass before a change is merged'
	@echo 'make drill        random work under random faults, 200 seeds; more with SEEDS=n'
	@echo 'make fix          clippy fixes, then formatting'
	@echo 'make bless        goldens and scripts anew; review the diff'
	@echo 'make test T=name  the tests whose name contains it'
	@echo 'make doc          the documentation, in target/doc'
	@echo 'make bench        the benchmarks; writes the picture of src/guide/performance.md'
	@echo 'make stages       where the time of a call goes; needs perf'
	@echo 'make instructions instructions of a call, beside the expected ones; needs valgrind'

verify: check-fmt check-clippy check-tests check-doc check-examples check-demo check-python check-models check-instructions drill
	@echo 'verify: all passed'

check-fmt:
	cargo fmt --all --check

# The second run looks at the libraries alone: a test target would turn every feature on again through the root
# package's dependency on itself.
check-clippy:
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cargo clippy --workspace --lib --no-default-features -- -D warnings

# REMEX_BLESS would make the tests write what they should compare.
check-tests:
	env -u REMEX_BLESS cargo test --workspace

check-doc:
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features

check-examples:
	.ci/examples

# The second run is for the optimised build: a collective over four processes, which the tests see without optimisation
# only. A compiler once left out a count there.
check-demo:
	cargo run --release -- demo </dev/null
	timeout 60 cargo run --release -- bench W5 --size 8388608 --reps 2 </dev/null

check-python:
	cargo build --release
	.ci/python_client

check-models:
	cargo build --release
	.ci/models

# Optimised, or it would take ten times as long. A seed that fails is printed with the line that shows it again.
drill:
	cargo run --release --example fault_drill -- --seeds $(or $(SEEDS),200) </dev/null

fix:
	cargo clippy --workspace --all-targets --all-features --fix --allow-dirty --allow-staged
	cargo fmt --all

bless:
	REMEX_BLESS=1 cargo test --workspace --tests

test:
	@test -n '$(T)' || { echo 'which test? make test T=name' >&2; exit 2; }
	cargo test --workspace -- '$(T)'

doc:
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features

# The table goes to the terminal and, by hand, into src/guide/performance.md; on a machine that does nothing else.
bench:
	cargo build --release
	target/release/remex bench growth --objects 10000000 --svg src/guide/growth.svg </dev/null
	cargo bench --workspace --all-features --bench '*'

stages:
	cargo build --release
	.ci/stages

instructions check-instructions:
	cargo build --release
	.ci/instructions
