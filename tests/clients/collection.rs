//! Garbage collection beside distribution's own: what is left here is complete there, and nothing is left to
//! collect.

use std::fs;
use std::path::{Path, PathBuf};

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
fn adopted_directory_of_registry2_is_collected() {
    adopted_directory_is_collected(Distribution::version_2_on, false);
}

#[test]
fn adopted_directory_of_registry3_is_collected() {
    adopted_directory_is_collected(Distribution::version_3_on, true);
}

/// Truncates the last layer of an image, which no other image has, and overwrites the link of a tag.
fn damage(root: &Path, layer: &str, tag: &str) {
    let hex = layer.strip_prefix("sha256:").expect("a digest");
    let file = root.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data");
    let content = fs::read(&file).expect("the file of a layer");
    fs::write(&file, &content[..content.len() / 2]).expect("the file can be written");
    fs::write(link(root, tag), BROKEN).expect("a link can be written");
}

const BROKEN: &str = "sha256:broken";

fn link(root: &Path, tag: &str) -> PathBuf {
    let tags = "docker/registry/v2/repositories/team/image/_manifests/tags";
    root.join(tags).join(tag).join("current/link")
}

fn adopted_directory_is_collected(start: fn(&Path) -> Distribution, deletes_tags: bool) {
    let user = Terminal::open();
    let root = user.path("registry");
    fs::create_dir(&root).expect("an empty directory");
    let theirs = start(&root);
    let contents = push_one_of_each(&user, |name| theirs.at(name));
    let name = theirs.at("team/image");
    let gone = Image::saved(&user, "gone", "an image that they deleted").digest;
    user.run(&format!("crane push gone {name}:gone"));
    Image::saved(&user, "damaged", "an image that is damaged by hand");
    user.run(&format!("crane push damaged {name}:damaged"));
    user.run(&format!("crane tag {name}:1 broken && crane tag {name}:1 untagged"));
    let layers = user.json(&format!("crane manifest {name}:damaged"))["layers"].clone();
    let layers = layers.as_array().expect("an image has layers");
    let layer = layers.last().and_then(|layer| layer["digest"].as_str()).expect("a layer has a digest");
    let needed = blob_files(&root).len();
    user.run(&format!("crane delete {name}@{gone}"));
    if deletes_tags {
        user.run(&format!("crane delete {name}:untagged"));
    }
    interrupt_upload(&user, theirs.at("").trim_end_matches('/'));
    theirs.stop();
    damage(&root, layer, "broken");

    let ours = Server::configured_at("127.0.0.1:0", &root, NO_GRACE);
    let told = ours.says("gc --now");
    let left = blob_files(&root);
    assert!(left.len() < needed, "the manifest had no link any more: {told}");
    pull_all(&user, &contents, |name| ours.at(name));
    let name = ours.at("team/image");
    user.fails(&format!("crane manifest {name}@{gone}"));
    let tags = user.run(&format!("crane ls {name} | sort"));
    let tags: Vec<&str> = tags.lines().filter(|tag| !tag.starts_with("sha256-")).collect();
    assert_eq!(tags, if deletes_tags { vec!["1", "damaged"] } else { vec!["1", "damaged", "untagged"] });
    assert_eq!(BROKEN, fs::read_to_string(link(&root, "broken")).expect("the link stays"));
    user.fails(&format!("crane validate --remote {name}:damaged"));
    user.run(&format!("crane push damaged {name}:damaged && crane validate --remote {name}:damaged"));
    ours.stop();
    fs::remove_dir_all(link(&root, "broken").ancestors().nth(2).expect("a tag")).expect("it can be removed");
    let theirs = start(&root);
    pull_all(&user, &contents, |name| theirs.at(name));
    user.run(&format!("crane validate --remote {}", theirs.at("team/image:damaged")));
}
