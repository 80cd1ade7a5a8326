#!/bin/sh
# Makes sure that what a make target needs is here: `scripts/ensure.sh rust postgres …`.
# Debian's packages are installed when we are root and apt-get is there; otherwise the missing thing is named, with the
# command that brings it. Nothing is changed when nothing is missing.
set -eu

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

may_install() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1
}

# package names …
install() {
    printf 'installing %s\n' "$*" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2 || printf 'apt-get update failed; trying with the lists that are here\n' >&2
    apt-get install -y -qq --no-install-recommends "$@" >&2 || fail "apt-get could not install: $*"
}

# The same search as the daemon's: a folder that holds both initdb and postgres.
has_postgres() {
    for folder in /usr/lib/postgresql/*/bin /usr/local/lib/postgresql/*/bin /opt/postgresql/*/bin; do
        [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] && return 0
    done
    command -v initdb >/dev/null 2>&1 && command -v postgres >/dev/null 2>&1
}

ensure_postgres() {
    has_postgres && return 0
    may_install || fail "No PostgreSQL server (14 or newer) was found: initdb and postgres are missing." \
        "Install it, for example with: sudo apt-get install postgresql" \
        "It need not run: campaignd starts a private one of its own."
    # Debian's package makes and starts a cluster of its own unless told not to; nobody here needs it.
    setting=/etc/postgresql-common/createcluster.d/campaignd-none.conf
    mkdir -p "${setting%/*}"
    printf 'create_main_cluster = false\n' >"$setting"
    install postgresql
    rm -f "$setting"
    has_postgres || fail "PostgreSQL was installed, but initdb and postgres are not where they are expected."
}

# What the tests of several nodes put between the daemons and PostgreSQL. Nothing of it runs by itself afterwards.
ensure_pgbouncer() {
    for program in /usr/sbin/pgbouncer /usr/bin/pgbouncer /usr/local/bin/pgbouncer; do
        [ -x "$program" ] && return 0
    done
    may_install || fail "PgBouncer is missing: tests put it in front of PostgreSQL." \
        "Install it, for example with: sudo apt-get install pgbouncer"
    install pgbouncer
    # Debian's package starts one for everybody, where a service manager runs.
    if command -v systemctl >/dev/null 2>&1; then
        systemctl disable --now --quiet pgbouncer 2>/dev/null || true
    fi
}

ensure_rust() {
    if ! command -v cargo >/dev/null 2>&1; then
        if [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
            fail "cargo is installed but not in PATH; run: . \"${CARGO_HOME:-$HOME/.cargo}/env\""
        fi
        fail "cargo is missing. Install Rust (the version is in Cargo.toml, rust-version) as https://rustup.rs says."
    fi
    # Rust links with it, and the TLS library has some C in it.
    command -v cc >/dev/null 2>&1 && return 0
    may_install || fail "The C compiler is missing (cc). Install it, for example with: sudo apt-get install gcc libc6-dev"
    install gcc libc6-dev
}

# The components of the toolchain that `make check` needs.
ensure_lints() {
    for component in fmt clippy; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        fail "cargo $component is missing. Install it with: rustup component add rustfmt clippy"
    done
}

# Valgrind, and the program that runs it: of exactly the library's version, for they speak a protocol of their own.
# It goes into target/tools, so that nobody's own programs are replaced; unoptimised, because it waits most of its time.
ensure_valgrind() {
    cd "$(dirname "$0")/.."
    version=$(sed -n '/^name = "gungraun"$/{n;s/^version = "\(.*\)"$/\1/p;}' Cargo.lock)
    [ -n "$version" ] || fail "Cargo.lock names no version of gungraun, which counts the instructions."
    if ! command -v valgrind >/dev/null 2>&1; then
        may_install || fail "Valgrind is missing: it counts the instructions. Install it, for example with:" \
            "sudo apt-get install valgrind libc6-dbg"
        install valgrind libc6-dbg
    fi
    runner=target/tools/bin/gungraun-runner
    [ "$("$runner" --version 2>/dev/null)" = "gungraun-runner $version" ] && return 0
    printf 'installing gungraun-runner %s into target/tools\n' "$version" >&2
    CARGO_PROFILE_DEV_DEBUG=false cargo install gungraun-runner --version "=$version" --locked --debug --quiet \
        --force --root target/tools --target-dir target/tools/build >&2 ||
        fail "gungraun-runner $version could not be installed: it runs the counting of instructions." \
            "It comes from crates.io; with a network: scripts/ensure.sh rust valgrind"
    rm -rf target/tools/build
}

for need in "$@"; do
    case "$need" in
        rust | postgres | pgbouncer | lints | valgrind) "ensure_$need" ;;
        *) fail "scripts/ensure.sh: unknown need: $need (known: rust, postgres, pgbouncer, lints, valgrind)" ;;
    esac
done
