# Needs Python >= 3.11, make and a C library; every target sets up what it needs, in .venv.
# Another Python beside it: make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV ?= .venv
# Two for each processor: most tests wait, for a clock or for another process.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) * 2)))
# How long make fuzz looks, unless it finds something.
SECONDS ?= 1200
# Debian packages whose programs some tests use: mpop knows SCRAM, nmh holds inc, whois mkpasswd, systemd socket
# activation, liblockfile-bin dotlockfile; openbsd-inetd and haproxy serve no port unless /etc/inetd.conf or
# /etc/haproxy/haproxy.cfg says so; five deliver mail
DEBIAN_PACKAGES := curl fetchmail mpop nmh strace whois systemd openbsd-inetd haproxy procmail maildrop dma \
                   dovecot-core mailutils-mda liblockfile-bin libtirpc3

# Not installed but unpacked: xinetd cannot be on one system with openbsd-inetd (it needs what that needs, and libtirpc3);
# fail2ban would start a daemon that reads the machine's logs and changes its firewall.
UNPACKED := $(VENV)/debian
UNPACKED_PACKAGES := xinetd fail2ban

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PLUGINS := $(patsubst %/pyproject.toml,./%,$(wildcard plugins/*/pyproject.toml))
INSTALLED := $(VENV)/.installed

# Nothing here gains from running side by side, and the targets share one environment.
.NOTPARALLEL:
.DELETE_ON_ERROR:
# What is on PYTHONPATH would be tested instead of what is installed.
unexport PYTHONPATH

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(INSTALLED)  ## start a demonstration server on the loopback interface; Ctrl-C ends it
	@exec $(BIN)/popframe demo

.PHONY: test
test: $(INSTALLED) debian-packages $(UNPACKED)  ## run all tests but the long ones
	$(BIN)/pytest -n $(WORKERS)

.PHONY: test-long
test-long: $(INSTALLED) debian-packages $(UNPACKED)  ## run all tests, with many more examples
	POPFRAME_LONG=1 $(BIN)/pytest -n $(WORKERS) --timeout 1800

.PHONY: fuzz
fuzz: $(VENV)/.fuzz-installed  ## look for octets that break store_mbox, for SECONDS=1200; what breaks it is kept in .fuzz
	$(BIN)/python -m tests.plugins.store_mbox.fuzz_mbox --seconds $(SECONDS)

.PHONY: check
check: $(INSTALLED)  ## run every linter and the type checker; the first failure stops none of the others
	@failed=; \
	run() { printf '%s\n' "$$*"; "$(BIN)/$$@" || failed="$$failed $$1"; }; \
	run ruff format --check --quiet .; \
	run ruff check --quiet .; \
	run mypy; \
	run mypy --explicit-package-bases tests benchmarks; \
	run lint-imports --no-logo; \
	run deptry popframe; \
	for plugin in $(PLUGINS); do \
	  run deptry --package-module-name-map popframe-server=popframe --config $$plugin/pyproject.toml $$plugin; \
	done; \
	run codespell; \
	if [ -n "$$failed" ]; then echo "make check: failed:$$failed" >&2; exit 1; fi

.PHONY: fix
fix: $(INSTALLED)  ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: dist
dist: $(INSTALLED)  ## build every wheel into dist/
	rm -rf dist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist . $(PLUGINS)

# A wheel can lack a file, which any other test notices; to kill everything at every system call once more takes minutes.
.PHONY: wheels
wheels: dist debian-packages  ## build every wheel, and run the tests on what they install
	@set -e; \
	room=$$(mktemp -d); chmod 755 "$$room"; trap 'rm -rf "$$room"' EXIT; trap 'exit 130' INT TERM; \
	$(BIN)/python -m venv --without-pip "$$room/venv"; \
	echo "installing dist/*.whl into a fresh environment"; \
	$(PIP) --python "$$room/venv" install --group test dist/*.whl; \
	cp -R tests pyproject.toml "$$room"; \
	cd "$$room"; \
	POPFRAME_WHEELS=1 venv/bin/pytest -n $(WORKERS) -m 'not checkout' --ignore-glob '*/test_crash.py'

.PHONY: clean
clean:  ## remove everything that the other targets made
	rm -rf $(VENV) dist popframe-demo .fuzz .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find popframe plugins tests -type d -name __pycache__ -prune -exec rm -rf {} +

# --- set-up ----------------------------------------------------------------------------------------------------------

# pip before 25.1 knows no dependency groups. Core and plugins are installed by one call: apart, pip would look for
# the core on an index.
$(INSTALLED): $(VENV)/pyvenv.cfg pyproject.toml popframe/_version.py $(wildcard plugins/*/pyproject.toml)
	$(PIP) install 'pip>=25.1'
	$(PIP) install --group dev --editable . $(addprefix --editable ,$(PLUGINS))
	@touch $@

$(VENV)/.fuzz-installed: $(INSTALLED)
	$(PIP) install --group fuzz
	@touch $@

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'popframe needs Python 3.11 or newer, and $(PYTHON) is not: make PYTHON=/path/to/python3.11 …' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo 'this Python lacks its venv module; on Debian: sudo apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

.PHONY: debian-packages
debian-packages:  # --no-remove: the machine may have a mail transfer agent that one of them would replace; none is started
	@missing=; \
	for package in $(DEBIAN_PACKAGES); do \
	  dpkg-query --show --showformat='$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed \
	    || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing the Debian packages$$missing"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  policy=/usr/sbin/policy-rc.d; \
	  if [ ! -e $$policy ]; then \
	    trap 'rm -f '$$policy EXIT; trap 'exit 130' INT TERM; \
	    printf '#!/bin/sh\nexit 101\n' >$$policy; chmod 755 $$policy; \
	  fi; \
	  apt-get -qq update && \
	  apt-get -qq --no-install-recommends --no-remove install $$missing >/dev/null && exit 0; \
	fi; \
	echo "not installed:$$missing. Tests that need one of them are skipped." >&2; \
	echo "To run these too, on Debian: sudo apt-get install$$missing" >&2

$(UNPACKED): Makefile | $(VENV)/pyvenv.cfg
	@rm -rf $@ $@.part; mkdir -p $@.part; \
	if (cd $@.part && apt-get -qq download $(UNPACKED_PACKAGES)) 2>/dev/null; then \
	  for package in $@.part/*.deb; do dpkg-deb --extract $$package $@.part || exit; done; \
	  rm $@.part/*.deb; mv $@.part $@; touch $@; \
	else \
	  rm -rf $@.part; \
	  echo "not unpacked: $(UNPACKED_PACKAGES) (Debian). Tests that need one of them are skipped." >&2; \
	fi
