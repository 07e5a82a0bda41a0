# sqlpoold: plain GNU make. `make help` lists the targets.
#
# Objects and programs live in build/<variant>/. The targets a person types are
# at the end; most run one sub-make, for two reasons: a variant is a variable of
# the whole run, and `make check` on a bare machine installs the packages that
# pkg-config is asked about when the sub-make is read.

VERSION   = 0.1.0
SOVERSION = 0

PREFIX    = /usr/local
DESTDIR   =
VARIANT   = release
V         = 0
WERROR    = -Werror
NPROC    := $(shell nproc 2>/dev/null || echo 2)
FUZZ_SECONDS = 60

B = build/$(VARIANT)

ifeq ($(origin CC),default)
CC = gcc
endif
CLANG        = clang
CLANG_FORMAT = clang-format
CLANG_TIDY   = clang-tidy
CPPCHECK     = cppcheck
OBJCOPY      = objcopy
PKG_CONFIG   = pkg-config

.DEFAULT_GOAL = all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-8s %s\n' '$(1)' '$(2)';)

# --- Packages ---------------------------------------------------------------

DEPS = gcc make libc6-dev pkg-config libsqlite3-dev libevent-dev libmsgpack-dev \
	check libconfuse-dev uthash-dev libreadline-dev sqlite3 unicode-data \
	procps python3 python3-msgpack python3-prometheus-client \
	python3-yaml tmux libjansson-dev libuv1-dev g++ systemd
DEPS_LINT = clang-format clang-tidy cppcheck mandoc shellcheck libhiredis-dev \
	libpq-dev abigail-tools systemd
DEPS_FUZZ = clang libclang-rt-14-dev
DEPS_BENCH = libhiredis-dev libpq-dev redis-server redis-tools postgresql-15 \
	pgbouncer python3-aiosqlite gnuplot-nox
DEPS_GUARD = valgrind
DEPS_DEB = debhelper debootstrap dpkg-dev fakeroot lintian

# msgpack-c's own name is msgpack-c since 6.0; Debian 12 has 4.0.
MSGPACK := $(shell $(PKG_CONFIG) --exists msgpack-c 2>/dev/null && \
	echo msgpack-c || echo msgpack)

DAEMON_PKGS = sqlite3 libevent_core libevent_extra libevent_pthreads \
	libconfuse $(MSGPACK)
pkg_cflags := $(shell $(PKG_CONFIG) --cflags $(DAEMON_PKGS) check jansson \
	readline 2>/dev/null)
pq_cflags = -I/usr/include/postgresql
pkg_libs = $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null)
daemon_libs := $(call pkg_libs,$(DAEMON_PKGS))
client_libs := $(call pkg_libs,$(MSGPACK))
cli_libs    := $(call pkg_libs,$(MSGPACK) sqlite3 readline)
check_libs  := $(call pkg_libs,check jansson)
uv_libs     := $(call pkg_libs,libuv)

# --- Flags ------------------------------------------------------------------

MACHINE   := $(shell $(CC) -dumpmachine 2>/dev/null)
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

# What gcc and clang both know; the gcc-only ones are added for gcc.
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wundef -Wcast-align \
	-Wcast-qual -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
	-Wconversion -Wsign-conversion -Wswitch-enum -Wimplicit-fallthrough \
	-Wnull-dereference
WARN_GCC = -Wlogical-op -Wduplicated-cond -Wduplicated-branches

HARDEN = -fstack-protector-strong -fstack-clash-protection \
	$(if $(filter x86_64-% i%86-%,$(MACHINE)),-fcf-protection)
FORTIFY = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3

# Includes are written from the top: "proto/frame.h". The public header is the
# exception: programs say <sqlpool.h>, as they would when it is installed.
cppflags = -I. -Iclient -Iclient/adapters -D_GNU_SOURCE -DSQLPOOLD_VERSION='"$(VERSION)"' \
	$(pkg_cflags) $(pq_cflags)

# What is kept for reuse hides from a sanitizer that it is used after its end.
opt_nopools  = -DREQUEST_POOL_MAX=0
opt_release  = -O2 -g $(HARDEN) $(FORTIFY)
opt_asan     = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all $(opt_nopools)
opt_tsan     = -O1 -g -fno-omit-frame-pointer -fsanitize=thread
opt_cover    = -O0 -g --coverage -fprofile-update=atomic
# gcc 12 loses sight of memory that is stored through a pointer it does not
# know; clang's analyzer and LeakSanitizer look for leaks.
opt_analyzer = -O1 -g -fanalyzer -Wno-analyzer-malloc-leak
opt_fuzz     = -O1 -g -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
	$(opt_nopools)

ifeq ($(filter $(VARIANT),release asan tsan cover analyzer fuzz),)
$(error VARIANT=$(VARIANT) is none of release asan tsan cover analyzer fuzz)
endif

# gcc warns falsely about code that a sanitizer has rewritten, so only the
# plain builds turn warnings into errors.
ifneq ($(filter $(VARIANT),asan tsan cover fuzz),)
WERROR =
WARN += -Wno-null-dereference -Wno-maybe-uninitialized
endif

# The hash of uthash falls through on purpose and says so as gcc knows it; ours
# is what gcc looks at.
ifeq ($(VARIANT),fuzz)
CC = $(CLANG)
WARN_GCC =
WARN += -Wno-unknown-warning-option -Wno-implicit-fallthrough
endif

cflags = -std=gnu11 $(WARN) $(WARN_GCC) $(WERROR) $(opt_$(VARIANT)) \
	-fvisibility=hidden -pthread $(cppflags) $(CPPFLAGS) $(CFLAGS)
ldflags = $(filter-out -O% -D% -U%,$(opt_$(VARIANT))) -pthread \
	-Wl,-z,relro,-z,now -Wl,--as-needed $(LDFLAGS)

# --- Sources ----------------------------------------------------------------

proto_src    := $(wildcard proto/*.c)
conf_src     := $(wildcard conf/*.c)
daemon_src   := $(wildcard daemon/*.c)
client_src   := $(wildcard client/*.c)
cli_src      := $(wildcard client/cli/*.c)
bench_src    := $(wildcard client/bench/*.c)
peer_src     := $(wildcard tests/bench/*.c)
peerlib_src  := $(wildcard tests/bench/lib/*.c)
preload_src  := $(wildcard tests/bench/preload/*.c)
extension_src := $(wildcard tests/extension/*.c)
example_src  := $(wildcard client/examples/*.c)
testlib_src  := $(wildcard tests/lib/*.c)
test_src     := $(wildcard tests/check_*.c)
proctest_src := $(wildcard tests/proc/check_*.c)
fuzz_src     := $(wildcard tests/fuzz/fuzz_*.c)
start_src    := $(wildcard tests/quickstart/*.c)

product_src := $(proto_src) $(conf_src) $(daemon_src) $(client_src) $(cli_src) \
	$(bench_src)
all_src := $(product_src) $(example_src) $(testlib_src) $(test_src) \
	$(proctest_src) $(fuzz_src) $(start_src) $(peer_src) $(peerlib_src) \
	$(preload_src) $(extension_src)
all_hdr := $(wildcard proto/*.h conf/*.h daemon/*.h client/*.h client/cli/*.h client/bench/*.h \
	client/adapters/*.h tests/*.h tests/lib/*.h tests/proc/*.h \
	tests/fuzz/*.h tests/bench/*.h tests/bench/lib/*.h)
guard_src := $(wildcard tests/guard/*.c)
all_src += $(guard_src)
all_hdr += $(wildcard tests/guard/*.h)
all_def := $(wildcard proto/*.def conf/*.def daemon/*.def)
scripts := $(wildcard .ci/run tests/*.sh tests/*/*.sh conf/*.bash)
man_src := $(wildcard daemon/*.8 daemon/*.7 conf/*.5 client/*.3 client/cli/*.1 client/bench/*.1)

obj = $(patsubst %.c,$(B)/%.o,$(1))
pic = $(patsubst %.c,$(B)/pic/%.o,$(1))

# --- Products ---------------------------------------------------------------

sqlpoold   = $(if $(wildcard daemon/main.c),$(B)/sqlpoold)
sqlpoolcli = $(if $(cli_src),$(B)/sqlpool-cli)
sqlpoolbench = $(if $(wildcard client/bench/main.c),$(B)/sqlpool-bench)
peers      = $(patsubst %.c,$(B)/%,$(peer_src)) \
	$(patsubst %.c,$(B)/%.so,$(preload_src))
client_a   = $(if $(client_src),$(B)/libsqlpool-client.a)
client_so  = $(if $(client_src),$(B)/libsqlpool-client.so)
examples   = $(patsubst %.c,$(B)/%,$(example_src))
extensions = $(patsubst %.c,$(B)/%.so,$(extension_src))
tests      = $(patsubst %.c,$(B)/%,$(test_src))
proctests  = $(patsubst %.c,$(B)/%,$(proctest_src))
test_scripts = $(wildcard tests/check_*.sh tests/check_*.py)
proctest_scripts = $(wildcard tests/proc/check_*.sh tests/proc/check_*.py)

.PHONY: build build-tests
build: $(sqlpoold) $(sqlpoolcli) $(sqlpoolbench) $(client_a) $(client_so) $(examples)
	@:
build-tests: build $(tests) $(proctests) $(extensions)

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(cflags) -fPIE -MMD -MP -c -o $@ $<

$(B)/pic/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(cflags) -fPIC -MMD -MP -c -o $@ $<

ar = $(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(B)/libproto.a: $(call obj,$(proto_src))
	$(ar)
$(B)/libconf.a: $(call obj,$(conf_src))
	$(ar)
$(B)/libdaemon.a: $(call obj,$(filter-out daemon/main.c,$(daemon_src)))
	$(ar)
$(B)/libtest.a: $(call obj,$(testlib_src))
	$(ar)

proto_a   = $(if $(proto_src),$(B)/libproto.a)
conf_a    = $(if $(conf_src),$(B)/libconf.a)
daemon_a  = $(if $(filter-out daemon/main.c,$(daemon_src)),$(B)/libdaemon.a)
testlib_a = $(if $(testlib_src),$(B)/libtest.a)

$(B)/sqlpoold: $(call obj,daemon/main.c) $(daemon_a) $(conf_a) $(proto_a)
	$(call say,LD,$@)$(CC) -pie $(ldflags) -o $@ $^ $(daemon_libs)

# The client and its copy of proto/ become one object in which only the symbols
# with default visibility stay global, so that an application (or a test, which
# links the daemon's objects as well) cannot clash with a name of ours.
$(B)/libsqlpool-client.o: $(call pic,$(client_src) $(proto_src))
	$(call say,LD,$@)$(LD) -r -o $@.tmp $^ && \
		$(OBJCOPY) --localize-hidden $@.tmp $@ && rm -f $@.tmp

$(B)/libsqlpool-client.a: $(B)/libsqlpool-client.o
	$(ar)

# Sanitizers leave symbols to the program.
no_undefined = -Wl,-z,defs
$(B)/libsqlpool-client.so.$(SOVERSION): $(call pic,$(client_src) $(proto_src)) \
		client/sqlpool.map
	$(call say,LD,$@)$(CC) -shared $(ldflags) -Wl,-soname,$(@F) \
		-Wl,--version-script,client/sqlpool.map \
		$(if $(filter release,$(VARIANT)),$(no_undefined)) \
		-o $@ $(filter %.o,$^) $(client_libs)

$(B)/libsqlpool-client.so: $(B)/libsqlpool-client.so.$(SOVERSION)
	$(Q)ln -sf $(<F) $@

$(B)/sqlpool-cli: $(call obj,$(cli_src)) $(client_a)
	$(call say,LD,$@)$(CC) -pie $(ldflags) -o $@ $^ $(cli_libs)

# The load generator's parts are a library for the benchmark's peers, which are
# the same program with another driver.
$(B)/libbench.a: $(call obj,$(filter-out client/bench/main.c,$(bench_src)))
	$(ar)

$(B)/libpeer.a: $(call obj,$(peerlib_src))
	$(ar)

$(B)/sqlpool-bench: $(call obj,client/bench/main.c) $(B)/libbench.a $(client_a)
	$(call say,LD,$@)$(CC) -pie $(ldflags) -o $@ $^ $(client_libs) -lm

$(B)/tests/bench/%: $(B)/tests/bench/%.o $(B)/libpeer.a $(B)/libbench.a $(daemon_a) \
		$(conf_a) $(proto_a) $(client_a)
	$(call say,LD,$@)$(CC) -pie $(ldflags) -o $@ $^ $(daemon_libs) \
		-lhiredis -lpq -lm

# Loaded into the daemon: to measure it in another way, and by SQLite.
$(B)/tests/bench/preload/%.so: $(B)/pic/tests/bench/preload/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -shared $(ldflags) -o $@ $^
$(B)/tests/extension/%.so: $(B)/pic/tests/extension/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -shared $(ldflags) -o $@ $^

$(B)/tests/guard/paths: $(call obj,$(guard_src)) $(daemon_a) $(conf_a) \
		$(proto_a) $(client_a)
	$(call say,LD,$@)$(CC) -pie $(ldflags) -o $@ $^ $(daemon_libs)

$(B)/client/examples/%: $(B)/client/examples/%.o $(client_a)
	$(call say,LD,$@)$(CC) -pie $(ldflags) -o $@ $^ $(client_libs) \
		$(if $(filter libevent,$*),$(call pkg_libs,libevent_core))

# A test of a module in proto/ or conf/ links that layer and what stands to its
# left; this shows that the layer needs nothing else. The others link it all.
test_libs = $(if $(wildcard proto/$(1).c),$(testlib_a) $(proto_a),$(if \
	$(wildcard conf/$(1).c),$(testlib_a) $(conf_a) $(proto_a),$(if \
	$(wildcard client/bench/$(1).c),$(B)/libbench.a $(client_a),$(testlib_a) \
	$(daemon_a) $(conf_a) $(proto_a) $(client_a))))

$(B)/tests/check_client_adapters: check_libs += $(uv_libs)

.SECONDEXPANSION:
$(B)/tests/check_%: $(B)/tests/check_%.o $$(call test_libs,$$*)
	$(call say,LD,$@)$(CC) -pie $(ldflags) -o $@ $^ $(check_libs) \
		$(daemon_libs) -lm

$(B)/tests/proc/check_%: $(B)/tests/proc/check_%.o $(testlib_a) $(daemon_a) \
		$(conf_a) $(proto_a) $(client_a)
	$(call say,LD,$@)$(CC) -pie $(ldflags) -o $@ $^ $(check_libs) \
		$(daemon_libs)

$(B)/tests/quickstart/%: $(B)/tests/quickstart/%.o $(client_a)
	$(call say,LD,$@)$(CC) -pie $(ldflags) -o $@ $^ $(client_libs)

$(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(testlib_a) $(daemon_a) \
		$(conf_a) $(proto_a) $(client_a)
	$(call say,LD,$@)$(CC) -pie $(ldflags) -fsanitize=fuzzer -o $@ $^ \
		$(check_libs) $(daemon_libs)

.SECONDARY:
-include $(patsubst %.c,$(B)/%.d,$(all_src)) \
	$(patsubst %.c,$(B)/pic/%.d,$(client_src) $(proto_src))

# --- Running the tests of a variant -----------------------------------------

slow_release = 1
slow_cover = 2
slow_asan = 4
slow_tsan = 8

supp = $(abspath $(wildcard tests/lint/$(1).supp))
test_env = SQLPOOLD=$(abspath $(B))/sqlpoold \
	SQLPOOL_CLI=$(abspath $(B))/sqlpool-cli \
	SQLPOOL_BENCH=$(abspath $(B))/sqlpool-bench BUILD=$(abspath $(B)) \
	SQLPOOLD_USER=$$(id -u) \
	CK_TIMEOUT_MULTIPLIER=$(slow_$(VARIANT)) \
	ASAN_OPTIONS=detect_leaks=1:halt_on_error=1:abort_on_error=0 \
	LSAN_OPTIONS=$(patsubst %,suppressions=%:,$(call \
		supp,lsan))print_suppressions=0 \
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	TSAN_OPTIONS=$(patsubst %,suppressions=%:,$(call \
		supp,tsan))halt_on_error=1:second_deadlock_stack=1

# These hold a time against a bound, or clients against each other: they run by
# themselves. Under a sanitizer nothing is measured.
measuring = $(patsubst %,$(B)/tests/proc/check_%,cancel load long patience soak tx)
alone = $(if $(filter asan tsan,$(VARIANT)),,$(measuring))

# Suites of one thread, or of one that waits for the other, and those of programs
# of one thread, in which ThreadSanitizer has nothing to look for, and which would
# take minutes.
skip_tsan = $(patsubst %,$(B)/tests/check_%,budget deadlines faults functions \
	group guard msg output script stmt value vectors walk) \
	$(patsubst %,$(B)/tests/proc/check_%,cli frames idle migration state values) \
	$(patsubst %,tests/proc/check_%,bench.sh completion.sh top.py)

# Those that last, and do what others do for a moment.
skip_asan = $(patsubst %,$(B)/tests/proc/check_%,idle soak storm) \
	$(patsubst %,tests/proc/check_%,completion.sh top.py)

# gcc 12's ThreadSanitizer needs an address space with at most 28 random bits.
rnd_bits = $(shell cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)
run_tsan = $(if $(filter-out 8 16 18 24 28,$(rnd_bits)),setarch -R)

.PHONY: run-tests run-fuzz
run-tests: build-tests
	$(Q)$(test_env) $(run_$(VARIANT)) tests/run.sh \
		$(filter-out $(alone) $(skip_$(VARIANT)),$(proctests) \
		$(proctest_scripts) $(tests) $(test_scripts)) \
		--alone $(alone)

fuzzers = $(patsubst %.c,$(B)/%,$(fuzz_src))
run-fuzz: $(fuzzers)
	$(Q)for f in $(fuzzers); do \
		n=$${f##*/fuzz_}; corpus=$(B)/corpus/$$n; mkdir -p $$corpus; \
		seeds=tests/fuzz/corpus/$$n; dict=tests/fuzz/$$n.dict; \
		test -d $$seeds || seeds=; \
		printf '  %-8s %s for %ss\n' FUZZ $$f $(FUZZ_SECONDS); \
		$$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
			-rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
			-artifact_prefix=$(B)/ \
			$$(test -f $$dict && echo -dict=$$dict) \
			$$corpus $$seeds || exit 1; \
	done

# --- Lint ---------------------------------------------------------------------

# A stamp for each source that a tool found clean; any header or table may have
# changed its meaning.
L = build/lint
tidy_flags = -std=gnu11 -Wall -Wextra -Itests/lint/include $(cppflags)

$(L)/%.tidy: %.c $(all_hdr) $(all_def) $(wildcard tests/lint/include/*.h) \
		.clang-tidy tests/.clang-tidy Makefile
	@mkdir -p $(@D)
	$(call say,TIDY,$<)$(CLANG_TIDY) --quiet $< -- $(tidy_flags) \
		2>$@.err || { cat $@.err; exit 1; }
	$(Q)mv $@.err $@

.PHONY: lint-format lint-tidy lint-cppcheck lint-analyzer lint-shell lint-man \
	lint-layers lint-abi lint-units
lint-format:
	$(call say,FORMAT,all)$(CLANG_FORMAT) --dry-run -Werror $(all_src) \
		$(all_hdr)
lint-tidy: $(patsubst %.c,$(L)/%.tidy,$(all_src))
lint-cppcheck:
	@mkdir -p $(L)/cppcheck
	$(call say,CPPCHECK,all)$(CPPCHECK) --quiet --error-exitcode=1 \
		--std=c11 --enable=warning,style,performance,portability \
		--inline-suppr --suppressions-list=tests/lint/cppcheck.supp \
		--cppcheck-build-dir=$(L)/cppcheck -Itests/lint/include -I. \
		-Iclient -D_GNU_SOURCE \
		$(product_src) $(example_src)
lint-analyzer:
	+$(Q)$(MAKE) --no-print-directory VARIANT=analyzer lint-objects
.PHONY: lint-objects
lint-objects: $(call obj,$(product_src) $(example_src))
lint-shell:
	$(call say,SHELL,all)shellcheck $(scripts)
lint-man:
	$(if $(man_src),$(call say,MANDOC,$(man_src))mandoc -T lint -W warning \
		$(man_src))
	$(call say,MANUAL,conf/sqlpoold.conf.5)tests/lint/manual.sh
lint-units:
	$(call say,UNITS,conf)tests/lint/units.sh
lint-layers:
	$(call say,LAYERS,all)tests/lint/layers.py
	$(call say,PAPER,ARCHITECTURE.md)tests/lint/architecture.py

# The library's binary interface, as it was kept.
abi = client/sqlpool.abi
lint-abi: $(client_so)
	$(call say,ABI,$(abi))$(if $(filter x86_64-%,$(MACHINE)),abidiff $(abi) \
		$(client_so).$(SOVERSION) || { echo "what programs were built" \
		"against has changed; if that must be: make abi-keep. And raise" \
		"SOVERSION if a program from before would not run"; exit 1; },:)

# Types that are not in the header are nobody's business.
.PHONY: run-abi-keep
run-abi-keep: $(client_so)
	@mkdir -p $(B)/abi && cp client/sqlpool.h $(B)/abi
	$(call say,ABIDW,$(abi))abidw --exported-interfaces-only --no-corpus-path \
		--no-comp-dir-path --no-show-locs --no-elf-needed \
		--headers-dir $(B)/abi --drop-private-types --type-id-style hash \
		--out-file $(abi) $(client_so).$(SOVERSION)

# --- Targets for people -----------------------------------------------------

# One sub-make, as parallel as the caller's or as the machine.
submake = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(NPROC))

.PHONY: all check asan tsan fuzz cover format format-check lint quickstart bench \
	bench-scaling guard guard-keep soak abi abi-keep deb-check install uninstall \
	help clean

all: ## build the daemon, the library, the shell and the examples
	+$(Q)$(PKG_CONFIG) --exists $(DAEMON_PKGS) check readline || { \
		echo "packages are missing: run 'make deps' first" >&2; exit 1; }
	+$(Q)$(submake) build

check: deps ## build and run every test
	+$(Q)$(submake) run-tests

asan: deps ## the tests under AddressSanitizer and UBSan
	+$(Q)$(submake) VARIANT=asan run-tests

tsan: deps ## the tests under ThreadSanitizer
	+$(Q)$(submake) VARIANT=tsan run-tests

fuzz: deps deps-fuzz ## fuzz each target for FUZZ_SECONDS
	+$(Q)$(submake) VARIANT=fuzz run-fuzz

cover: deps ## the tests with coverage, and a line per file
	+$(Q)find build/cover -name '*.gcda' -delete 2>/dev/null || true
	+$(Q)$(submake) VARIANT=cover run-tests
	$(Q)tests/cover.sh build/cover $(product_src)

format: deps-lint ## rewrite the sources in the house's format
	$(Q)$(CLANG_FORMAT) -i $(all_src) $(all_hdr)

format-check: deps-lint ## say which sources are not in it
	+$(Q)$(submake) lint-format

lint: deps deps-lint deps-guard ## every static check; a warning is an error
	+$(Q)$(submake) -k -Otarget lint-format lint-shell lint-man \
		lint-layers lint-abi lint-units lint-cppcheck lint-analyzer lint-tidy

abi: deps deps-lint ## compare the library's binary interface with what was kept
	+$(Q)$(submake) lint-abi

abi-keep: deps deps-lint ## keep what it is now
	+$(Q)$(submake) run-abi-keep

.PHONY: build-quickstart
build-quickstart: build $(patsubst %.c,$(B)/%,$(start_src))

quickstart: deps ## a daemon, real data, 16 clients, the figures
	+$(Q)$(submake) build-quickstart
	$(Q)$(test_env) tests/quickstart.sh

# No peer is started by its package: the benchmark runs its own, on sockets in a
# directory of its own.
.PHONY: build-bench
build-bench: build $(peers)

bench: deps deps-bench ## measure, beside other ways to do it; about 5 minutes
	+$(Q)$(submake) build-bench
	$(Q)$(test_env) tests/bench/bench.py

bench-scaling: deps deps-bench ## how figures grow; writes the plots
	+$(Q)$(submake) build-bench
	$(Q)$(test_env) tests/bench/scaling.py

.PHONY: build-guard
build-guard: $(B)/tests/guard/paths

guard: deps deps-guard ## count the hot paths' instructions; fails when they grew
	+$(Q)$(submake) build-guard
	$(Q)tests/guard/guard.py $(B)/tests/guard/paths

guard-keep: deps deps-guard ## keep what they are now
	+$(Q)$(submake) build-guard
	$(Q)tests/guard/guard.py --keep $(B)/tests/guard/paths

SOAK_SECONDS = 600
soak: deps ## a WAL in hard times, for SOAK_SECONDS and about a minute
	+$(Q)$(submake) build $(B)/tests/proc/check_soak
	$(Q)$(test_env) SOAK_SECONDS=$(SOAK_SECONDS) $(B)/tests/proc/check_soak

deb-check: deps deps-deb ## build the Debian packages, install and try them
	$(Q)tests/deb.sh

clean: ## remove build/
	$(Q)rm -rf build

help: ## this list
	$(Q)awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST))

# --- Installation -------------------------------------------------------------

# Debian's own packages have the libraries in a directory per architecture.
LIBDIR = $(PREFIX)/lib$(if $(filter /usr,$(PREFIX)),$(addprefix /,$(MULTIARCH)))
SBINDIR    = $(PREFIX)/sbin
BINDIR     = $(PREFIX)/bin
INCLUDEDIR = $(PREFIX)/include
MANDIR     = $(PREFIX)/share/man
DOCDIR     = $(PREFIX)/share/doc/sqlpoold
COMPDIR    = $(PREFIX)/share/bash-completion/completions
# systemd looks here for all three, also under /usr/local.
UNITDIR    = $(PREFIX)/lib/systemd/system
SYSUSERS   = $(PREFIX)/lib/sysusers.d/sqlpoold.conf
TMPFILES   = $(PREFIX)/lib/tmpfiles.d/sqlpoold.conf

doc_src = $(wildcard README.md LICENSE ARCHITECTURE.md proto/PROTOCOL.md)
doc_examples = sqlpoold.conf.example conf/sqlpoold.logrotate \
	conf/sqlpoold.rules.yml conf/sqlpoold.dashboard.json \
	$(wildcard client/examples/*.c)
units = $(wildcard conf/*.service conf/*.socket)
completed = sqlpoold sqlpool-cli sqlpool-bench
man_target = $(MANDIR)/man$(subst .,,$(suffix $(1)))/$(notdir $(1))

adapters = $(notdir $(wildcard client/adapters/*.h))

# A page of several functions is found by each of their names: "name.3:page.3".
man_links := $(shell awk '/^\.Nm sqlpool_/ { n = split(FILENAME, path, "/"); \
	if ($$2 ".3" != path[n]) print $$2 ".3:" path[n] }' $(wildcard client/*.3))
link_name = $(MANDIR)/man3/$(firstword $(subst :, ,$(1)))
link_page = man3/$(lastword $(subst :, ,$(1)))

# The paths, once, for install and uninstall.
installed = $(SBINDIR)/sqlpoold $(BINDIR)/sqlpool-cli $(BINDIR)/sqlpool-bench \
	$(LIBDIR)/libsqlpool-client.a $(LIBDIR)/libsqlpool-client.so \
	$(LIBDIR)/libsqlpool-client.so.$(SOVERSION) \
	$(INCLUDEDIR)/sqlpool.h $(addprefix $(INCLUDEDIR)/,$(adapters)) \
	$(LIBDIR)/pkgconfig/sqlpool-client.pc \
	$(foreach m,$(man_src),$(call man_target,$(m))) \
	$(foreach l,$(man_links),$(call link_name,$(l))) \
	$(addprefix $(DOCDIR)/,$(notdir $(doc_src))) \
	$(addprefix $(DOCDIR)/examples/,$(notdir $(doc_examples))) \
	$(addprefix $(UNITDIR)/,$(notdir $(units))) $(SYSUSERS) $(TMPFILES) \
	$(addprefix $(COMPDIR)/,$(completed))

put = install -D -m $(1) $(2) '$(DESTDIR)$(3)'

install: all ## install under $(DESTDIR)$(PREFIX)
	$(Q)$(call put,755,$(B)/sqlpoold,$(SBINDIR)/sqlpoold)
	$(Q)$(call put,755,$(B)/sqlpool-cli,$(BINDIR)/sqlpool-cli)
	$(Q)$(call put,755,$(B)/sqlpool-bench,$(BINDIR)/sqlpool-bench)
	$(Q)$(call put,644,$(client_a),$(LIBDIR)/libsqlpool-client.a)
	$(Q)$(call put,644,$(client_so).$(SOVERSION),$(strip \
		$(LIBDIR))/libsqlpool-client.so.$(SOVERSION))
	$(Q)ln -sf libsqlpool-client.so.$(SOVERSION) \
		'$(DESTDIR)$(LIBDIR)/libsqlpool-client.so'
	$(Q)$(call put,644,client/sqlpool.h,$(INCLUDEDIR)/sqlpool.h)
	$(Q)$(foreach a,$(adapters),$(call put,644,client/adapters/$(a),$(strip \
		$(INCLUDEDIR))/$(a)) &&) :
	$(Q)sed -e 's,@PREFIX@,$(PREFIX),g' -e 's,@LIBDIR@,$(LIBDIR),g' \
		-e 's,@VERSION@,$(VERSION),g' -e 's,@MSGPACK@,$(MSGPACK),g' \
		client/sqlpool-client.pc.in >$(B)/sqlpool-client.pc
	$(Q)$(call put,644,$(B)/sqlpool-client.pc,$(strip \
		$(LIBDIR))/pkgconfig/sqlpool-client.pc)
	$(Q)$(foreach m,$(man_src),$(call put,644,$(m),$(call man_target,$(m))) &&) :
	$(Q)$(foreach l,$(man_links),echo '.so $(call link_page,$(l))' \
		>'$(DESTDIR)$(call link_name,$(l))' &&) :
	$(Q)sed -i "s,/usr/local/,$(PREFIX)/," \
		$(foreach m,$(man_src),'$(DESTDIR)$(call man_target,$(m))')
	$(Q)$(foreach d,$(doc_src),$(call put,644,$(d),$(DOCDIR)/$(notdir $(d))) &&) :
	$(Q)$(foreach d,$(doc_examples),$(call put,644,$(d),$(strip \
		$(DOCDIR))/examples/$(notdir $(d))) &&) :
	$(Q)$(foreach u,$(units),$(call put,644,$(u),$(UNITDIR)/$(notdir $(u))) &&) :
	$(Q)sed -i 's,/usr/sbin/,$(SBINDIR)/,' '$(DESTDIR)$(UNITDIR)'/sqlpoold*.service
	$(Q)$(call put,644,conf/sqlpoold.sysusers,$(SYSUSERS))
	$(Q)$(call put,644,conf/sqlpoold.tmpfiles,$(TMPFILES))
	$(Q)$(foreach p,$(completed),$(call put,644,conf/completion.bash,$(COMPDIR)/$(p)) &&) :
	$(Q)test -n '$(DESTDIR)' || test "$$(id -u)" != 0 || \
		! command -v ldconfig >/dev/null || ldconfig

uninstall: ## remove what install put there
	$(Q)rm -f $(foreach f,$(installed),'$(DESTDIR)$(f)')
	$(Q)rmdir '$(DESTDIR)$(DOCDIR)/examples' '$(DESTDIR)$(DOCDIR)' \
		2>/dev/null || true

# --- Packages a machine lacks -----------------------------------------------

.PHONY: deps deps-lint deps-fuzz deps-bench deps-guard deps-deb
deps: ## install the Debian packages that build and check need
	$(Q)tests/lint/deps.sh $(DEPS)
deps-lint: ## install the packages that lint needs
	$(Q)tests/lint/deps.sh $(DEPS_LINT)
deps-bench: ## install the packages that bench needs: the peers
	$(Q)tests/lint/deps.sh $(DEPS_BENCH)
deps-guard: ## install the package that guard needs
	$(Q)tests/lint/deps.sh $(DEPS_GUARD)
deps-deb: ## install the packages that deb-check needs
	$(Q)tests/lint/deps.sh $(DEPS_DEB)
deps-fuzz: ## install the packages that fuzz needs
	$(Q)tests/lint/deps.sh $(DEPS_FUZZ)
