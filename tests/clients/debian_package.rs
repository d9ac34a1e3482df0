//! The Debian package of `cargo deb`, in a minimal Debian 12.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::harness::{Terminal, runs_in_debian};

/// Installs, starts, upgrades, removes and purges.
const SCRIPT: &str = r#"
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
dpkg --install /old.deb
test "$(stat -c %U:%G:%a /var/lib/wharfinger)" = wharfinger:wharfinger:750
test "$(getent passwd wharfinger | cut -d: -f6)" = /var/lib/wharfinger
test "$(stat -c %U:%G:%a /etc/wharfinger)" = root:wharfinger:750
wharfinger config check
test -s /usr/share/man/man1/wharfinger.1.gz -a -s /usr/share/man/man1/wharfinger-serve.1.gz
test -s /usr/share/zsh/vendor-completions/_wharfinger -a -s /usr/share/fish/vendor_completions.d/wharfinger.fish
bash -euc '. /usr/share/bash-completion/completions/wharfinger; complete -p wharfinger'

# The command of the unit, as its user.
unit=$(dpkg --listfiles wharfinger | grep 'systemd/system/wharfinger.service$')
command=$(sed -n 's/^ExecStart=//p' "$unit")
test "$(sed -n 's/^User=//p' "$unit")" = wharfinger
serve() {
    setpriv --reuid wharfinger --regid wharfinger --init-groups $command --listen 127.0.0.1:0 &
    server=$!
    for _ in $(seq 600); do
        if wharfinger ls; then return; fi
        kill -0 "$server"
        sleep 0.1
    done
    return 1
}
serve
echo 'correct horse battery staple' | wharfinger user add ann --admin --password-stdin
kill "$server" && wait "$server"
test "$(stat -c %U /var/lib/wharfinger/wharfinger/metadata.db)" = wharfinger

echo '# of the administrator' >>/etc/wharfinger/wharfinger.toml
dpkg --install /new.deb
test "$(dpkg-query --show --showformat '${Version}' wharfinger)" = 99.0.0-1
grep 'of the administrator' /etc/wharfinger/wharfinger.toml
serve
wharfinger user list | grep ann
kill "$server" && wait "$server"

dpkg --remove wharfinger
test ! -e /usr/bin/wharfinger -a -e /etc/wharfinger/wharfinger.toml -a -e /var/lib/wharfinger/wharfinger/metadata.db
dpkg --purge wharfinger 2>&1 | tee /said
grep 'images in /var/lib/wharfinger stay' /said
test ! -e /etc/wharfinger -a -e /var/lib/wharfinger/wharfinger/metadata.db

# Without images, nothing stays.
rm -r /var/lib/wharfinger
dpkg --install /new.deb
dpkg --purge wharfinger
test ! -e /var/lib/wharfinger
echo all done
"#;

/// A terminal in which cargo finds its toolchain.
fn terminal() -> Terminal {
    let mut terminal = Terminal::open();
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    for (name, usual) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup"), ("XDG_CACHE_HOME", ".cache")]
    {
        terminal.set(name, std::env::var(name).unwrap_or_else(|_| format!("{home}/{usual}")));
    }
    terminal
}

/// Held while a package is built: `scripts/deb` writes the manual pages into one directory.
static BUILDING: Mutex<()> = Mutex::new(());

/// Builds a package of the tested binary. `cargo deb` itself would build a release.
fn package(user: &Terminal, version: &str, file: &Path) {
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let (source, binary) = (env!("CARGO_MANIFEST_DIR"), env!("CARGO_BIN_EXE_wharfinger"));
    user.run("mkdir -p target/dist");
    user.run(&format!(
        "[ -e target/dist/wharfinger ] || objcopy --strip-all {binary} target/dist/wharfinger"
    ));
    let target = user.path("target");
    user.run(&format!(
        "cd {source} && CARGO_TARGET_DIR={} scripts/deb --no-build --fast --no-strip --deb-version {version} --output {}",
        target.display(),
        file.display()
    ));
}

#[test]
fn package_installs_upgrades_and_is_purged() {
    let user = terminal();
    user.run("mkdir files");
    for (version, name) in [("0.0.1-1", "files/old.deb"), ("99.0.0-1", "files/new.deb")] {
        package(&user, version, &user.path(name));
    }
    runs_in_debian(&user, "files", SCRIPT);
}

#[test]
fn package_has_no_errors_of_lintian() {
    let user = terminal();
    package(&user, "0.1.0-1", &user.path("wharfinger.deb"));
    user.run("lintian --no-user-dirs --allow-root --fail-on error wharfinger.deb");
}
