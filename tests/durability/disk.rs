//! A disk that fails: ext4 in an image file. A power failure loses all writes that were not synced, and an
//! aborted journal makes the file system read-only, as a broken disk does.
//!
//! The kernel keeps unsynced writes of ext4 in memory and does not write them to the image before a sync, a
//! commit of its journal or a flush by age. The periods of the latter two are longer than a test. A shutdown
//! of the file system drops these writes at one moment, as a power failure does. A copy of the image would
//! not be of one moment.
//!
//! The mounts are in a mount namespace of the test's thread, which its processes share. A namespace that
//! another test makes would otherwise copy them. The kernel keeps a file system until its last mount is gone,
//! so the next mount of the image would be of the file system that was shut down.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// `EXT4_IOC_SHUTDOWN` of Linux: `_IOR('X', 125, __u32)`.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: not even the journal is written.
static NO_LOG_FLUSH: u32 = 2;

/// A mounted file system.
pub(crate) struct Disk {
    _scratch: TempDir,
    memory: PathBuf,
    image: PathBuf,
    mount: PathBuf,
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}, which takes root, failed: {error}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Gives this thread, and the threads and processes that it starts, a mount namespace of their own.
fn enter_mount_namespace() {
    // SAFETY: no pointer is passed, and the call changes this thread alone.
    let made = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    assert_eq!(made, 0, "a mount namespace, which takes root: {}", std::io::Error::last_os_error());
    run("mount", &["--make-rslave", "/"]);
}

impl Disk {
    pub(crate) fn new(mib: usize) -> Disk {
        enter_mount_namespace();
        let scratch = TempDir::new().unwrap();
        let [memory, mount] = ["memory", "mount"].map(|name| scratch.path().join(name));
        fs::create_dir(&memory).unwrap();
        fs::create_dir(&mount).unwrap();
        // In memory, so that syncs do not wait for the disk of this machine.
        run("mount", &["-t", "tmpfs", "tmpfs", text(&memory)]);
        let image = memory.join("image");
        let disk = Disk { _scratch: scratch, memory, image, mount };
        fs::File::create(&disk.image).unwrap().set_len((mib as u64) << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", text(&disk.image)]);
        disk.mount();
        disk
    }

    /// The root of the file system.
    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }

    fn mount(&self) {
        run("mount", &["-o", "loop,commit=300", text(&self.image), text(&self.mount)]);
    }

    fn unmount(&self) {
        run("umount", &[text(&self.mount)]);
    }

    /// Makes everything durable.
    pub(crate) fn sync(&self) {
        run("sync", &["--file-system", text(&self.mount)]);
    }

    /// Loses all writes that were not synced. No process may use the file system.
    pub(crate) fn lose_power(&self) {
        let root = fs::File::open(&self.mount).unwrap();
        // SAFETY: the call reads one number through the pointer, which is valid during the call.
        let done = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN as _, &raw const NO_LOG_FLUSH) };
        assert_eq!(done, 0, "the shutdown of {}: {}", self.mount.display(), std::io::Error::last_os_error());
        drop(root);
        self.unmount();
        self.mount();
    }

    /// Makes the file system read-only, also for files that are open.
    pub(crate) fn abort(&self) {
        // mount reports the error that it is asked to simulate.
        let _ = Command::new("mount").args(["-o", "remount,abort", text(&self.mount)]).output().unwrap();
        let file = self.mount.join("is-read-only");
        let refused = fs::write(&file, "").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{refused}");
    }

    /// Mounts it again after [`abort`](Self::abort). No process may use the file system.
    pub(crate) fn recover(&self) {
        self.unmount();
        // 1: errors were corrected.
        let checked = Command::new("e2fsck").args(["-fy", text(&self.image)]).output().unwrap();
        let output = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.code().is_some_and(|code| code <= 1), "{output}");
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for mount in [&self.mount, &self.memory] {
            let _ = Command::new("umount").arg("-l").arg(mount).output();
        }
    }
}
