# The commands of everyday work; `just` alone lists them.

_list:
    @just --list --unsorted

# Everything that a change must pass
ci:
    .ci/run

# All tests, the real clients included; installs what they need
test *arguments:
    scripts/test {{arguments}}

# The real clients against the built binary: `just clients`, `just clients docker::`
clients *names:
    scripts/test --test clients {{names}}

# The clients that `just clients` leaves out: `just more-clients`, `just more-clients nerdctl::`
more-clients *names:
    scripts/test-more-clients {{names}}

# The tests that need nothing but Rust
units:
    cargo test --workspace --lib --bins

# Put every file into its layout
fmt:
    cargo fmt --all

# The layout, clippy's lints, and what the dependencies may be
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo deny --locked check bans licenses sources

# Known defects of the dependencies; needs the advisory database, which is cloned from its Git host
advisories:
    cargo deny check advisories

# Other registries and this one side by side; `just bench --list`, `just bench --quick`, `just bench --zot PATH`
bench *arguments:
    cargo build --release
    cargo run --release -p bench -- {{arguments}}
