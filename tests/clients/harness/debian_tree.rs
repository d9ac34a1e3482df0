//! A minimal Debian 12, whose changes disappear with the test.

use std::fs;

use super::Terminal;

/// Commands in the tree, as root. Changes to it are in memory, and disappear with the namespace.
const ENTER: &str = r#"
mount -t tmpfs tmpfs "$SCRATCH"
mkdir "$SCRATCH/new" "$SCRATCH/work" "$SCRATCH/root"
mount -t overlay overlay -o "lowerdir=$TREE,upperdir=$SCRATCH/new,workdir=$SCRATCH/work" "$SCRATCH/root"
mount -t proc proc "$SCRATCH/root/proc"
cp -r "$FILES"/. "$SCRATCH/root/"
exec chroot "$SCRATCH/root" /bin/sh -eux /script
"#;

/// Runs a script in the tree, as root and with the loopback network alone. The files of a directory of the
/// terminal are at the root of the tree. The last line of the output must be `all done`.
#[track_caller]
pub(crate) fn runs_in_debian(user: &Terminal, files: &str, script: &str) {
    fs::write(user.path(files).join("script"), script).expect("a script can be written");
    fs::write(user.path("enter"), ENTER).expect("a script can be written");
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    let cache = std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache"));
    let tree =
        user.run(&format!("XDG_CACHE_HOME={cache} {}/scripts/debian-tree", env!("CARGO_MANIFEST_DIR")));
    let said = user.run(&format!(
        "mkdir scratch && export TREE={tree} SCRATCH=$PWD/scratch FILES=$PWD/{files}
         unshare --mount --net --propagation private sh -euc 'busybox ip link set lo up; . ./enter' 2>&1"
    ));
    assert!(said.ends_with("all done"), "{said}");
}
