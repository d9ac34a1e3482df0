//! The rows of docs/reference/data-directory.md whose other program is docker-registry 2.8.2.

use std::fs;
use std::path::Path;

use crate::harness::{Distribution, Image, Server, Terminal};

/// Returns a directory in which docker-registry has `team/app` with the tags `1` and `2`, and their digests.
fn two_images(user: &Terminal, root: &Path) -> [String; 2] {
    fs::create_dir_all(root).expect("an empty directory");
    let theirs = Distribution::version_2_on(root);
    let images = ["1", "2"].map(|tag| Image::saved(user, tag, &format!("image {tag}")).digest);
    for tag in ["1", "2"] {
        user.run(&format!("crane push {tag} {}", theirs.at(&format!("team/app:{tag}"))));
    }
    theirs.stop();
    images
}

fn crane_digest(user: &Terminal, name: &str) -> String {
    user.run(&format!("crane digest {name}"))
}

#[test]
fn registry2_pushes_and_moves_tags_in_between() {
    let user = Terminal::open();
    let root = user.path("registry");
    let [one, two] = two_images(&user, &root);
    Server::start_on(&root).stop();

    let theirs = Distribution::version_2_on(&root);
    let three = Image::saved(&user, "3", "image 3").digest;
    user.run(&format!("crane push 3 {}", theirs.at("team/app:3")));
    user.run(&format!("crane push 3 {}", theirs.at("team/app:1")));
    user.run(&format!("crane push 3 {}", theirs.at("brand/new:3")));
    theirs.stop();
    let ours = Server::start_on(&root);
    for (name, digest) in
        [("team/app:1", &three), ("team/app:2", &two), ("team/app:3", &three), ("brand/new:3", &three)]
    {
        assert_eq!(*digest, crane_digest(&user, &ours.at(name)), "{name}");
    }
    let log = ours.log();
    assert!(log.contains(&format!("tag 1 was moved from {one} to {three}")), "{log}");
    assert!(log.contains("tag 3 was added"), "{log}");
    user.run(&format!("crane validate --remote {}", ours.at("team/app:3")));
    ours.stop();
    check(&user, &root);
    let theirs = Distribution::version_2_on(&root);
    assert_eq!(three, crane_digest(&user, &theirs.at("team/app:1")), "check reverts nothing");
}

#[test]
fn registry2_moves_a_tag_to_an_image_that_is_there() {
    let user = Terminal::open();
    let root = user.path("registry");
    let [_, two] = two_images(&user, &root);
    Server::start_on(&root).stop();
    let theirs = Distribution::version_2_on(&root);
    user.run(&format!("crane tag {} 1", theirs.at("team/app:2")));
    theirs.stop();
    let ours = Server::start_on(&root);
    // No directory time shows the change, so the links are read after the start.
    let moved = || (crane_digest(&user, &ours.at("team/app:1")) == two).then_some(());
    let begun = std::time::Instant::now();
    while moved().is_none() {
        assert!(begun.elapsed().as_secs() < 30, "{}", ours.log());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    ours.wait_for_log("tag 1 was moved");
}

#[test]
fn registry2_deletes_and_collects_in_between() {
    let user = Terminal::open();
    let root = user.path("registry");
    let [one, two] = two_images(&user, &root);
    Server::start_on(&root).stop();
    let theirs = Distribution::version_2_on(&root);
    user.run(&format!("crane delete {}@{one}", theirs.at("team/app")));
    theirs.stop();
    Distribution::version_2_deletes_untagged_on(&user, &root);
    let ours = Server::start_on(&root);
    assert_eq!("2", user.run(&format!("crane ls {}", ours.at("team/app"))));
    assert_eq!(two, crane_digest(&user, &ours.at("team/app:2")));
    user.fails(&format!("crane manifest {}@{one}", ours.at("team/app")));
    let log = ours.log();
    assert!(log.contains(&format!("manifest {one} was deleted")), "{log}");
    user.run(&format!("crane validate --remote {}", ours.at("team/app:2")));
    ours.stop();
    check(&user, &root);
}

#[test]
fn images_without_sizes_are_served_as_registry2_does() {
    let user = Terminal::open();
    let root = user.path("registry");
    two_images(&user, &root);
    let theirs = Distribution::version_2_on(&root);
    let manifest = user.run(&format!("crane manifest {}", theirs.at("team/app:1")));
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).expect("a manifest");
    manifest["config"].as_object_mut().expect("a config").remove("size");
    manifest["layers"][0].as_object_mut().expect("a layer").remove("size");
    manifest["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into();
    fs::write(user.path("odd.json"), manifest.to_string()).expect("a file");
    let media_type = manifest["mediaType"].as_str().expect("text").to_owned();
    let put = |at: &str| {
        format!(
            "curl -sS -o answer -w '%{{http_code}}' -X PUT -H 'Content-Type: {media_type}' --data-binary @odd.json http://{at}"
        )
    };
    assert_eq!("201", user.run(&put(&theirs.at("v2/team/app/manifests/odd"))));
    let digest = crane_digest(&user, &theirs.at("team/app:odd"));
    theirs.stop();

    let ours = Server::start_on(&root);
    assert_eq!(digest, crane_digest(&user, &ours.at("team/app:odd")));
    assert_eq!(manifest.to_string(), user.run(&format!("crane manifest {}", ours.at("team/app:odd"))));
    user.run(&format!("crane tag {} again", ours.at("team/app:odd")));
    assert_eq!(digest, crane_digest(&user, &ours.at("team/app:again")));
    assert_eq!("400", user.run(&put(&ours.at("v2/other/app/manifests/odd"))), "new pushes stay strict");
    ours.stop();
    check(&user, &root);
}

fn check(user: &Terminal, root: &Path) {
    user.run(&format!("{} check --data {}", env!("CARGO_BIN_EXE_wharfinger"), root.display()));
}
