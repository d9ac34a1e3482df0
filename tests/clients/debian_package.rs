//! The Debian package of `cargo deb`, in a minimal Debian 12, and under systemd.

use std::fs;
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

/// Boots systemd on this machine's files, with changes in memory. It is process 1 of its own namespaces,
/// starts the script `walk` alone, and ends with it. The kernel's settings are read-only, because the
/// namespaces share them.
const BOOT: &str = r#"
mount -t tmpfs tmpfs "$SCRATCH"
mkdir "$SCRATCH/new" "$SCRATCH/work" "$SCRATCH/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$SCRATCH/new,workdir=$SCRATCH/work" "$SCRATCH/root"
cd "$SCRATCH/root"
# Units of this machine, and its rule that packages start no services.
rm -rf lib/systemd/system/*.wants etc/systemd/system/*.wants usr/sbin/policy-rc.d
: >etc/fstab
mkdir -p old srv/files
mount --bind "$FILES" srv/files
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/shm dev/pts dev/mqueue dev/hugepages
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
ln -s /proc/self/fd dev/fd
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
cat >etc/systemd/system/walk.service <<UNIT
[Service]
Type=oneshot
Environment=HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
ExecStart=/bin/sh -eux /srv/files/walk
StandardOutput=append:/srv/files/said
StandardError=inherit
ExecStopPost=/bin/systemctl --no-block exit
UNIT
printf '[Unit]\nWants=walk.service systemd-journald.service\n' >etc/systemd/system/walk.target
busybox ip link set lo up
pivot_root . old
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /bin/sh -c \
    'umount -l /old && exec /lib/systemd/systemd --system --unit=walk.target --show-status=0'
"#;

/// The package on a machine with systemd: start, reload, socket, watchdog.
const WALK: &str = r#"
dpkg --install /srv/files/wharfinger.deb
# The package has started it. It is active when it listens.
systemctl is-active wharfinger
systemctl show --property StatusText wharfinger | grep 'serving http://127.0.0.1:5000'
wharfinger health
/srv/files/crane append --insecure --new_layer /srv/files/layer.tar --new_tag 127.0.0.1:5000/team/app:1

pid=$(systemctl show --property MainPID --value wharfinger)
printf '\n[limits]\npage_entries = 7\n' >>/etc/wharfinger/wharfinger.toml
systemctl reload wharfinger
echo 'colour = 1' >>/etc/wharfinger/wharfinger.toml
if systemctl reload wharfinger; then exit 1; fi
journalctl --unit wharfinger | grep 'limits.colour'
test "$(systemctl show --property MainPID --value wharfinger)" = "$pid"
wharfinger ls | grep team/app
sed -i /colour/d /etc/wharfinger/wharfinger.toml

# Port 443 without a privilege, by the socket of the example.
echo 'correct horse battery staple' | wharfinger user add ann --admin --password-stdin
systemctl stop wharfinger
cp /usr/share/doc/wharfinger/examples/wharfinger.socket /etc/systemd/system/
mkdir /etc/systemd/system/wharfinger.service.d
printf '[Service]\nWatchdogSec=5\n' >/etc/systemd/system/wharfinger.service.d/watchdog.conf
systemctl daemon-reload
systemctl start wharfinger.socket wharfinger
answers() { test "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:443/v2/)" = 401; }
answers
systemctl restart wharfinger
answers
test "$(ps -o user:20= -p "$(systemctl show --property MainPID --value wharfinger)")" = wharfinger

# The watchdog restarts a server that hangs.
kill -STOP "$(systemctl show --property MainPID --value wharfinger)"
for _ in $(seq 200); do
    test "$(systemctl show --property NRestarts --value wharfinger)" = 0 || break
    sleep 0.2
done
journalctl --unit wharfinger | grep 'Watchdog timeout'
answers
systemctl is-active wharfinger
test -z "$(find /var/lib/wharfinger ! -user wharfinger)"
systemctl stop wharfinger.socket
dpkg --purge wharfinger
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
fn package_runs_under_systemd() {
    let user = terminal();
    user.run(
        "mkdir -p files scratch && head -c 1000000 /dev/urandom >layer && tar -cf files/layer.tar layer",
    );
    package(&user, "0.1.0-1", &user.path("files/wharfinger.deb"));
    fs::write(user.path("boot"), BOOT).expect("a script can be written");
    fs::write(user.path("files/walk"), WALK).expect("a script can be written");
    // In a control group of its own, which is the root of the new namespace.
    let said = user.run(
        "cp $(command -v crane) files/ && export SCRATCH=$PWD/scratch FILES=$PWD/files
         unshare --mount --propagation private sh -euc '
             mkdir groups && mount -t cgroup2 cgroup2 groups
             own=groups/wharfinger-test-$$ && mkdir $own && echo $$ >$own/cgroup.procs
             unshare --mount --pid --fork --kill-child --net --uts --ipc --cgroup sh -eu boot >boot.log 2>&1 || cat boot.log
             echo $$ >groups/cgroup.procs; find $own -depth -type d -exec rmdir {} +' >&2
         cat files/said",
    );
    assert!(said.ends_with("all done"), "{said}");
}

#[test]
fn package_has_no_errors_of_lintian() {
    let user = terminal();
    package(&user, "0.1.0-1", &user.path("wharfinger.deb"));
    user.run("lintian --no-user-dirs --allow-root --fail-on error wharfinger.deb");
}
