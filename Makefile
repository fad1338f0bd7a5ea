# SPDX-License-Identifier: GPL-3.0-or-later
# Each target does all of its own set-up; none asks a question.

PYTHON := .venv/bin/python
# make test TESTS=tests/layers, or TESTS='-k bridge'; without, all of them
TESTS ?=
HOSTS ?= 3
HOST ?= h1
CMD ?= bash

.DEFAULT_GOAL := help
.PHONY: help quickstart molecule test soak check perf format generate changelog clean setup-run setup-dev lab-up lab-down lab-shell lab-ctl \
	kernel-shell kernel-run kernel-down

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: setup-run ## real guests on this machine, from nothing; again: says that nothing changed
	@tools/quickstart.sh

lab-up: setup-dev ## three hosts with libvirt and sshd of their own on this machine; HOSTS=5 for more; docs/lab.md
	@$(PYTHON) tools/guest_image.py
	@tests/lab/lab.py up --hosts $(HOSTS) --share .cache/guest/busybox.qcow2

lab-down: ## and nothing is left of them
	@tests/lab/lab.py down

lab-shell: ## a shell on one of them: make lab-shell HOST=h1
	@tests/lab/lab.py shell $(HOST)

lab-ctl: ## a command where they can be reached: make lab-ctl CMD='ansible-playbook -i inventories/lab dos.vm.site'
	@tests/lab/lab.py ctl $(CMD)

kernel-run: setup-dev ## a command in a kernel that has what this one lacks: make kernel-run CMD='ipvsadm -L'; LAB=tcg emulates one; docs/kernel.md
	@tests/kernel/kernel.py run sh -c "$$CMD"

kernel-shell: setup-dev ## a shell in one, which stays up
	@tests/kernel/kernel.py shell

kernel-down: ## and nothing is left of it
	@tests/kernel/kernel.py down

test: setup-dev ## unit tests and the tests of the whole
	@$(PYTHON) tools/test.py $(TESTS)

soak: setup-dev ## the tests that take longer than a minute each; results in tests/soak/RESULTS.md; make soak ONLY=release
	@$(PYTHON) tools/soak.py $(ONLY)

molecule: setup-dev ## the Molecule scenarios of the roles, on two hosts of a lab of their own
	@$(PYTHON) -m pytest tests/lab/test_molecule.py

check: setup-dev ## format, lint, types, layers, generated files, changelog, sanity; make check ONLY='lint types'
	@$(PYTHON) tools/check.py $(ONLY)

perf: setup-dev ## the benchmarks of tests/perf, beside Nova, community.libvirt and bare libvirt: a quarter of an hour
	@$(PYTHON) tests/perf/bench_site.py
	@$(PYTHON) tests/perf/bench_placement.py
	@$(PYTHON) tests/perf/bench_host.py
	@$(PYTHON) tests/perf/bench_vms.py
	@$(PYTHON) tests/perf/bench_network.py

format: setup-dev ## let ruff write the files as `make check` wants them
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .

generate: setup-dev ## documentation, argument specs and schema from the model
	@$(PYTHON) tools/generate.py

changelog: setup-dev ## fragments into CHANGELOG.md, for the version in galaxy.yml
	@cd collections/ansible_collections/dos/vm && PATH=$(CURDIR)/.venv/bin:$$PATH antsibull-changelog release

clean: ## forget the virtual environment and every cache; guests and inventories stay
	@rm -rf .venv .cache .ansible .hypothesis dist collections/ansible_collections/dos/vm/tests/output
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

setup-run:
	@tools/setup.sh run

setup-dev:
	@tools/setup.sh dev
