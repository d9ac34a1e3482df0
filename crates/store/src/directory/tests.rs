//! Tests of the data directory.

use std::path::Path;
use std::{fs, io};

use super::Directory;
use super::access::{Access, access_error, user_name};
use crate::StoreError;

fn message(result: Result<impl std::fmt::Debug, StoreError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn new_directory_has_the_layout_of_distribution() {
    let data = tempfile::tempdir().unwrap();
    let directory = Directory::open(data.path().join("new/data")).unwrap();
    let root = data.path().canonicalize().unwrap().join("new/data");
    assert_eq!(directory.root(), root);
    assert_eq!(directory.blobs(), root.join("docker/registry/v2/blobs"));
    assert_eq!(directory.repositories(), root.join("docker/registry/v2/repositories"));
    assert!(directory.uploads().is_dir());
    assert!(fs::read_dir(directory.blobs()).unwrap().next().is_none(), "the probe is gone");
    assert!(fs::read_dir(directory.uploads()).unwrap().next().is_none(), "the probe is gone");
}

#[test]
fn mounted_v2_directory_is_used_as_it_is() {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("repositories")).unwrap();
    let directory = Directory::open(data.path()).unwrap();
    assert_eq!(directory.blobs(), directory.root().join("blobs"));
    assert!(!directory.root().join("docker").exists());
}

#[test]
fn directory_above_v2_is_refused_with_advice() {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir_all(data.path().join("registry/v2/blobs")).unwrap();
    assert!(message(Directory::open(data.path())).contains("registry/v2, which holds blobs"));
}

#[test]
fn file_is_no_data_directory() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let said = message(Directory::open(path));
        assert!(said.contains("file is a file"), "{said}");
    }
    assert!(message(Directory::open_existing(&file)).contains("is a file"));
}

#[test]
fn image_layout_is_no_data_directory() {
    let data = tempfile::tempdir().unwrap();
    let blobs = data.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for (file, text) in
        [("oci-layout", "{}"), ("index.json", "{}"), (&*format!("blobs/sha256/{:064}", 0), "")]
    {
        fs::write(data.path().join(file), text).unwrap();
    }
    let said = message(Directory::open_existing(data.path()));
    assert!(said.contains("not a data directory"), "{said}");
    assert!(!data.path().join("wharfinger").exists());

    // The blobs of `registry:2` at the top, also without their repositories.
    fs::create_dir(blobs.join("0a")).unwrap();
    Directory::open_existing(data.path()).unwrap();
}

#[test]
fn mistyped_path_is_not_created() {
    let data = tempfile::tempdir().unwrap();
    assert!(message(Directory::open_existing(data.path().join("dta"))).contains("no such directory"));
    assert!(!data.path().join("dta").exists());
    assert!(message(Directory::open_existing(data.path())).contains("not a data directory"));
    Directory::open(data.path()).unwrap();
    Directory::open_existing(data.path()).unwrap();
}

#[test]
fn gateway_directory_has_a_key() {
    let data = tempfile::tempdir().unwrap();
    let directory = Directory::open(data.path()).unwrap();
    assert_eq!(directory.gateway_key().unwrap(), None);
    directory.make_gateway(&[7; 32]).unwrap();
    assert_eq!(Directory::open(data.path()).unwrap().gateway_key().unwrap(), Some([7; 32]));
    fs::write(directory.own().join("gateway.key"), "short").unwrap();
    assert!(message(directory.gateway_key()).contains("not a key of 32 bytes"));
}

#[test]
fn denied_access_names_the_user_and_the_remedy() {
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let data = tempfile::tempdir().unwrap();
    let root = data.path();
    let user = user_name(rustix::process::geteuid().as_raw());
    let said =
        |given: &Path| access_error(given, Access::Write, Path::new("/d/uploads"), &denied).to_string();
    let expected = format!(
        "user {user} may not write to /d/uploads. {0} belongs to {user}: run this as that user, or: chown -R {user} {0}",
        root.display()
    );
    assert_eq!(said(root), expected);
    let absent = root.join("absent");
    assert!(said(&absent).ends_with(&format!("install -d -o {user} -m 750 {}", absent.display())));
    // The owner of a registry must not change.
    fs::create_dir(root.join("wharfinger")).unwrap();
    assert!(said(root).ends_with("run this as that user"), "{}", said(root));
    assert_eq!(user_name(0), "root");
    assert_eq!(user_name(4_000_000_000), "4000000000");
}

#[test]
fn lock_holds_without_its_file() {
    let data = tempfile::tempdir().unwrap();
    let directory = Directory::open(data.path()).unwrap();
    let lock = directory.lock().unwrap();
    fs::remove_file(directory.own().join("lock")).unwrap();
    assert!(directory.try_lock().unwrap().is_none());
    drop(lock);
    directory.lock().unwrap();
}

#[test]
fn lock_holds_for_other_paths_to_the_content() {
    let data = tempfile::tempdir().unwrap();
    let directory = Directory::open(data.path()).unwrap();
    let _lock = directory.lock().unwrap();
    let inner = Directory::open(directory.content()).unwrap();
    assert!(inner.try_lock().unwrap().is_none());
}

#[test]
fn moved_content_is_detected() {
    let data = tempfile::tempdir().unwrap();
    let directory = Directory::open(data.path()).unwrap();
    let content = directory.claim_content("one", false, false).unwrap();
    content.check().unwrap();
    fs::rename(data.path().join("docker"), data.path().join("away")).unwrap();
    assert!(matches!(content.check(), Err(StoreError::ContentGone(_))));
    // A new directory in its place is not the same one.
    let empty = Directory::open(data.path()).unwrap();
    let said = message(empty.claim_content("one", false, true));
    assert!(said.contains("was it moved away"), "{said}");
    fs::remove_dir_all(data.path().join("docker")).unwrap();
    fs::rename(data.path().join("away"), data.path().join("docker")).unwrap();
    content.check().unwrap();
    let (blobs, away) = (directory.blobs().to_owned(), directory.blobs().with_file_name("away"));
    fs::rename(&blobs, &away).unwrap();
    for again in [false, true] {
        assert!(matches!(content.check(), Err(StoreError::ContentGone(path)) if path == blobs), "{again}");
        fs::create_dir_all(&blobs).unwrap();
    }
    fs::remove_dir(&blobs).unwrap();
    fs::rename(away, blobs).unwrap();
    content.check().unwrap();
    let said = message(directory.claim_content("two", false, true));
    assert!(said.contains("content of another database"), "{said}");
    directory.claim_content("two", true, true).unwrap();
    directory.claim_content("two", false, true).unwrap();
}

#[test]
fn only_unused_directory_is_removed() {
    let data = tempfile::tempdir().unwrap();
    let root = data.path().join("data");
    let directory = Directory::open(&root).unwrap();
    fs::create_dir(directory.blobs().join("sha256")).unwrap();
    Directory::remove_unused(&root);
    assert!(root.exists());
    fs::remove_dir(directory.blobs().join("sha256")).unwrap();
    Directory::remove_unused(&root);
    assert!(!root.exists());
}

#[test]
fn second_lock_names_the_first_process() {
    let data = tempfile::tempdir().unwrap();
    let directory = Directory::open(data.path()).unwrap();
    let lock = directory.lock().unwrap();
    let second = Directory::open(data.path()).unwrap();
    assert!(second.try_lock().unwrap().is_none());
    let said = message(second.lock());
    let holder = format!("in use by process {} (store-", std::process::id());
    assert!(said.contains(&holder), "{said}");
    drop(lock);
    second.lock().unwrap();
}

#[test]
fn accounts_of_a_file_are_an_error() {
    let data = tempfile::tempdir().unwrap();
    assert!(!Directory::has_had_accounts(data.path().join("absent")).unwrap());
    assert!(!Directory::has_had_accounts(data.path()).unwrap());
    let file = data.path().join("file");
    fs::write(&file, "x").unwrap();
    let said = message(Directory::has_had_accounts(&file));
    assert!(said.ends_with("is a file; the data directory must be a directory"), "{said}");
}
