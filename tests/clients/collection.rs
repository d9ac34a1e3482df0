//! Garbage collection beside distribution's own: what is left here is complete there, and nothing is left to collect.

use std::fs;

use crate::docker_registry::{blob_files, pull_all, push_one_of_each};
use crate::harness::{Distribution, Image, Index, Server, Terminal};

/// Deletions take effect with the next collection.
const NO_GRACE: &str = "[gc]\ngrace = 0\n";

/// Begins an upload that never ends.
fn interrupt_upload(user: &Terminal, at: &str) {
    user.run(&format!(
        "location=$(curl -sS -o /dev/null -D - -X POST http://{at}/v2/team/image/blobs/uploads/ | \
         tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'); \
         case $location in http*) ;; *) location=http://{at}$location ;; esac; \
         head -c 300000 /dev/urandom | curl -sS -o /dev/null -X PATCH --data-binary @- \
         -H 'Content-Type: application/octet-stream' \"$location\""
    ));
}

#[test]
fn registry2_and_3_find_nothing_to_collect_after_gc() {
    let user = Terminal::open();
    let ours = Server::configured(NO_GRACE);
    let contents = push_one_of_each(&user, |name| ours.at(name));
    let by_digest = Image::saved(&user, "gone", "a deleted image").digest;
    user.run(&format!("crane push gone {}", ours.at("team/image:gone")));
    Index::saved(&user, "list", "a deleted index");
    user.run(&format!("crane push --index list {}", ours.at("team/image:list")));
    interrupt_upload(&user, ours.at("").trim_end_matches('/'));
    let before = blob_files(ours.data()).len();
    user.run(&format!("crane delete {}@{by_digest}", ours.at("team/image")));
    user.run(&format!("crane delete {}", ours.at("team/image:list")));
    let told = ours.says("gc --now");
    assert!(told.contains("freed"), "{told}");
    assert!(blob_files(ours.data()).len() < before, "{told}");
    pull_all(&user, &contents, |name| ours.at(name));
    let data = ours.data().to_owned();
    let _kept = ours.stop();

    let left = blob_files(&data);
    for collect in [Distribution::version_2_collects_garbage_on, Distribution::version_3_collects_garbage_on]
    {
        collect(&user, &data);
        assert_eq!(left, blob_files(&data), "what is served was removed");
    }
    for start in [Distribution::version_2_on, Distribution::version_3_on] {
        let theirs = start(&data);
        pull_all(&user, &contents, |name| theirs.at(name));
        theirs.stop();
    }
}

#[test]
fn adopted_directory_is_collected() {
    let user = Terminal::open();
    let root = user.path("registry");
    fs::create_dir(&root).expect("an empty directory");
    let theirs = Distribution::version_2_on(&root);
    let contents = push_one_of_each(&user, |name| theirs.at(name));
    let gone = Image::saved(&user, "gone", "an image that they deleted").digest;
    user.run(&format!("crane push gone {}", theirs.at("team/image:gone")));
    let needed = blob_files(&root).len();
    user.run(&format!("crane delete {}@{gone}", theirs.at("team/image")));
    interrupt_upload(&user, theirs.at("").trim_end_matches('/'));
    theirs.stop();

    let ours = Server::configured_at("127.0.0.1:0", &root, NO_GRACE);
    let told = ours.says("gc --now");
    let left = blob_files(&root);
    assert!(left.len() < needed, "the manifest had no link any more: {told}");
    pull_all(&user, &contents, |name| ours.at(name));
    user.fails(&format!("crane manifest {}@{gone}", ours.at("team/image")));
    ours.stop();
    let theirs = Distribution::version_2_on(&root);
    pull_all(&user, &contents, |name| theirs.at(name));
}
