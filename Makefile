# Thin names over cargo. Each target first makes sure that what it needs is here (scripts/ensure.sh).
#   make demo [CSV=people.csv]   a private PostgreSQL, stand-in vendors, the daemon and one campaign per vendor
#   make test [ARGS=…]           all tests, on a real PostgreSQL
#   make check                   formatting, lints, documentation, dependencies: what .ci/run checks besides the tests
#   make soak [ARGS=…]           kills, faults and restarts for two minutes, or ARGS="--minutes 60"; nobody twice, nobody lost
#   make bench [ARGS=…]          the goals of speed and size, each as a ratio to a reference taken in the same run
#   make instructions [ARGS=…]   how many instructions the pure hot functions need, each held to its budget

CARGO ?= cargo
# What tests need in the program and releases cannot have: points to kill it at, a clock to move.
HOOKS = --features campaignd/test-hooks
.DEFAULT_GOAL := help
.PHONY: help demo test check soak bench instructions
# The path goes through the environment, so that no character in it needs care.
export CSV

help:
	@sed -n 's/^#   //p' Makefile

demo:
	@scripts/ensure.sh rust postgres
	@$(CARGO) run --quiet -p campaignd -- demo $(if $(CSV),--csv "$$CSV") $(ARGS)

test:
	@scripts/ensure.sh rust postgres pgbouncer
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) test --workspace $(HOOKS) --doc --quiet && \
		$(CARGO) nextest run --workspace $(HOOKS) --no-fail-fast $(ARGS); \
	else \
		$(CARGO) test --workspace $(HOOKS) --no-fail-fast $(ARGS); \
	fi

check:
	@scripts/ensure.sh rust lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace $(HOOKS) --all-targets -- -D warnings
	$(CARGO) clippy --workspace -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny --workspace check; \
	else \
		echo "skipped: cargo deny (licences and advisories) is not installed; cargo install cargo-deny brings it"; \
	fi

soak:
	@scripts/ensure.sh rust postgres
	@$(CARGO) test --quiet --package campaignd $(HOOKS) --test soak -- $(ARGS)

bench:
	@scripts/ensure.sh rust postgres
	@$(CARGO) bench --quiet --package campaignd --bench goals -- $(ARGS)

instructions:
	@scripts/ensure.sh rust valgrind
	@CARGO="$(CARGO)" scripts/instructions.sh $(ARGS)
