//! Data directories on disks that cannot be used: this is found when they are opened.

mod small_disk;

use std::fs;
use std::process::Command;

use small_disk::SmallDisk;
use store::Directory;

#[test]
fn uploads_on_another_mount_than_blobs_are_refused() {
    let (data, other) = (tempfile::tempdir().unwrap(), SmallDisk::new("size=1m"));
    fs::create_dir_all(data.path().join("docker/registry/v2")).unwrap();
    std::os::unix::fs::symlink(other.path(), data.path().join("docker/registry/v2/blobs")).unwrap();
    let refused = Directory::open(data.path()).unwrap_err().to_string();
    assert!(refused.contains("different mounts"), "{refused}");
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
}

#[test]
fn volume_mounted_at_v2_holds_the_database() {
    let data = tempfile::tempdir().unwrap();
    let v2 = data.path().join("docker/registry/v2");
    fs::create_dir_all(&v2).unwrap();
    let disk = SmallDisk::at(&v2, "size=1m");
    let directory = Directory::open(data.path()).unwrap();
    assert_eq!(directory.root(), v2.canonicalize().unwrap());
    assert_eq!(directory.metadata(), directory.root().join("wharfinger/metadata.db"));
    assert!(!data.path().join("wharfinger").exists());
    drop(disk);
    // A database beside `docker/` belongs to other content.
    fs::create_dir(data.path().join("wharfinger")).unwrap();
    fs::write(data.path().join("wharfinger/metadata.db"), "").unwrap();
    let _disk = SmallDisk::at(&v2, "size=1m");
    let refused = Directory::open(data.path()).unwrap_err().to_string();
    assert!(refused.contains("different mounts"), "{refused}");
}

#[test]
fn read_only_disk_is_refused() {
    let disk = SmallDisk::new("size=1m");
    Directory::open(disk.path()).unwrap();
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status().unwrap();
    assert!(remounted.success(), "this test mounts, for which it must run as root");
    let refused = Directory::open(disk.path()).unwrap_err().to_string();
    assert!(refused.contains("mounted read-only"), "{refused}");
}
