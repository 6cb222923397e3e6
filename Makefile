# Every check of the project is a target here; `.ci/run` and people call the same ones.
#
#   make check        format, lints, each feature alone, documentation, house rules, no C      (minutes)
#   make test         unit, documentation, property and integration tests, on the development broker
#   make test-kafka   the same promises against Apache Kafka (needs java 17 or later, mvn, python3);
#                     KAFKA_VERSION=3.9.1 takes an older one, ONLY=interop a part of the tests
#   make test-postgres
#                     the store in PostgreSQL, on a server that the tests start (needs initdb, pg_ctl and pgbouncer; PG_BIN names
#                     their folder where they are not found); ONLY=own a part of the tests
#   make test-service the service that applies orders in transactions of its own (service/, on sqlx and PostgreSQL)
#   make musl         every example as a static binary without a C compiler, run in an empty root
#   make soak         the pipeline with many made-up orders and seeded faults, SEEDS="1 2 3" ORDERS=200000; before it
#                     GROUP_SEEDS=10000 simulated groups (a failure names its seed and how to replay it), and the
#                     embedded store crashed at each operation of its disk in CRASH_SEEDS=50 ways, and SIM_SEEDS=10000
#                     simulated shops: producers, consumers, broker, store (SIM_SEED=N replays one)
#                     and our four programs with three nodes of Apache Kafka, killed and stopped at any moment
#                     (SIEGE_SEEDS="1 2 3" SIEGE_ORDERS=200000; needs java, mvn, python3)
#                     and three processes of each consumer on one database in PostgreSQL, killed, stopped and woken
#                     (FLEET_SEEDS="1 2 3" FLEET_ORDERS=200000; needs initdb and pg_ctl)
#   make soak-kafka   the same with ORDERS=10000000, and the memory of those that live through it (docs/soak.md)
#   make bench        micro benchmarks; bench/ has the comparison with other clients

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := check

CARGO ?= cargo
ONLY ?=
SEEDS ?= 1 2 3 4 5
ORDERS ?= $(if $(filter soak-kafka,$(MAKECMDGOALS)),10000000,200000)
GROUP_SEEDS ?= 10000
CRASH_SEEDS ?= 50
SIM_SEEDS ?= 10000
SIEGE_SEEDS ?= 1 2 3
SIEGE_ORDERS ?= 200000
FLEET_SEEDS ?= 1 2 3
FLEET_ORDERS ?= 200000
SOAK_RATE ?= 0
FEATURES := $(shell awk '/^\[/ { on = $$0 == "[features]" } on && /^[a-z]/ && $$1 != "default" { print $$1 }' Cargo.toml)

WORKSPACES := service bench fuzz

.PHONY: check fmt clippy features docs house-rules locks test test-kafka test-postgres test-service musl soak soak-kafka bench

check: fmt locks clippy features docs house-rules

fmt:
	$(CARGO) fmt --all --check

# What the crate needs is locked in each workspace beside it as well.
locks:
	for workspace in $(WORKSPACES); do \
	  $(CARGO) update --locked --workspace --quiet --manifest-path "$$workspace/Cargo.toml"; \
	done

# Those with a server of their own are not among `--all-targets`, because `cargo test` leaves them out.
clippy:
	$(CARGO) clippy --locked --all-targets --test kafka --test postgres --all-features -- -D warnings

# Without dev-dependencies: what a service that embeds the crate builds when it names one feature, or none.
features:
	$(CARGO) clippy --locked --package orderflow --lib --no-default-features -- -D warnings
	for feature in $(FEATURES); do \
	  echo "feature $$feature alone"; \
	  $(CARGO) clippy --locked --package orderflow --lib --no-default-features --features "$$feature" -- -D warnings; \
	done

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --all-features

house-rules:
	$(CARGO) test --locked --all-features --test house_rules --test no_c

test:
	$(CARGO) test --locked --all-features --no-fail-fast

test-kafka:
	$(CARGO) build --locked --all-features --examples
	$(CARGO) test --locked --all-features --test kafka -- $(ONLY)

test-postgres:
	$(CARGO) test --locked --all-features --test postgres -- $(ONLY)

test-service:
	cd service && $(CARGO) fmt --check && $(CARGO) clippy --locked --all-targets -- -D warnings && $(CARGO) test --locked

musl:
	CARGO="$(CARGO)" tests/musl/run

soak:
	GROUP_SEEDS=$(GROUP_SEEDS) $(CARGO) test --locked --release --all-features --lib every_seed_keeps_the_invariants
	CRASH_SEEDS=$(CRASH_SEEDS) $(CARGO) test --locked --release --all-features --lib store::redb::tests::crash
	SIM_SEEDS=$(SIM_SEEDS) $(CARGO) test --locked --release --all-features --lib simulation::every_seed_ends_well
	SIEGE_SEEDS="$(SIEGE_SEEDS)" SIEGE_ORDERS=$(SIEGE_ORDERS) $(CARGO) test --locked --release --all-features --test kafka -- \
	  crash::programs --nocapture
	FLEET_SEEDS="$(FLEET_SEEDS)" FLEET_ORDERS=$(FLEET_ORDERS) $(CARGO) test --locked --release --all-features --test postgres -- \
	  fleet --nocapture
	for seed in $(SEEDS); do \
	  echo "seed $$seed"; \
	  $(CARGO) run --locked --profile dist --all-features --example pipeline -- --quiet --orders $(ORDERS) --seed "$$seed" \
	    --faults "$$seed"; \
	done

soak-kafka:
	SOAK_ORDERS=$(ORDERS) SOAK_RATE=$(SOAK_RATE) $(CARGO) test --locked --release --all-features --test kafka -- \
	  crash::millions --nocapture

bench:
	$(CARGO) bench --locked --all-features
