# Commands for daily work. `just` alone lists them.

_list:
    @just --list --unsorted

# All checks that a change must pass
ci:
    .ci/run

# A quick check for daily work: types, unit tests, HTTP interface and configuration
quick:
    scripts/check-layers
    cargo check --workspace --all-targets --locked
    cargo test --workspace --exclude interleavings --lib --bins --test http --test config --test fuzz_seeds --locked --quiet -- --skip access::matrix --skip objects::tests

# All tests, real clients included; installs the clients
test *arguments:
    scripts/test {{arguments}}

# Tests that can use any storage, on a bucket and PostgreSQL: `just storages`, `just storages --on s3,sqlite`
storages *arguments:
    scripts/test-storages {{arguments}}

# The real clients against the built binary: `just clients`, `just clients docker::`
clients *names:
    scripts/test --test clients {{names}}

# Further clients: `just more-clients`, `just more-clients nerdctl::`
more-clients *names:
    scripts/test-more-clients {{names}}

# The Debian package, in target/debian
deb *arguments:
    scripts/install-tools package-tools.txt
    scripts/deb {{arguments}}

# The container image `wharfinger`: `just image`, `just image --arch arm64`
image *arguments:
    scripts/install-tools package-tools.txt
    scripts/image {{arguments}}

# Faults and kills while clients push, delete and collect: `just torture 10000 7` (faults, seed)
torture faults="10000" seed="1":
    WHARFINGER_FAULTS={{faults}} WHARFINGER_SEED={{seed}} cargo test --locked --test durability torture -- --nocapture

# Collections beside clients that push, mount and delete, with kills: `just soak 1000 7` (rounds, seed)
soak rounds="300" seed="1":
    WHARFINGER_ROUNDS={{rounds}} WHARFINGER_SEED={{seed}} cargo test --locked --test durability soak -- --nocapture

# Unit tests, which need nothing but Rust
units:
    cargo test --workspace --exclude interleavings --lib --bins

# Format every file
fmt:
    cargo fmt --all

# Formatting, layers, clippy's lints, and the rules for dependencies
lint:
    cargo fmt --all --check
    scripts/check-layers
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo deny --locked check bans licenses sources

# Known defects of dependencies; clones the advisory database from its Git host
advisories:
    cargo deny check advisories

# Benchmarks beside other registries: `just bench --list`, `just bench --quick`, `just bench --zot PATH`
bench *arguments:
    cargo build --profile dist
    cargo run --profile dist -p bench -- {{arguments}}

# Every fuzz target for a minute: `just fuzz`, `just fuzz path 600`; needs cargo-fuzz
fuzz target="all" seconds="60":
    fuzz/run {{target}} {{seconds}}
