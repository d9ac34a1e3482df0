//! Distribution's own registry on the same directory: each serves the pushes of the other.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::harness::{Distribution, Engine, Image, Index, Server, Terminal};

#[test]
fn registry2_pulls_everything_pushed_here() {
    all_that_was_pushed_here_is_pulled_from(Distribution::version_2_on);
}

#[test]
fn registry3_pulls_everything_pushed_here() {
    all_that_was_pushed_here_is_pulled_from(Distribution::version_3_on);
}

#[test]
fn root_directory_of_registry2_is_adopted() {
    directory_of_registry2_is_adopted(|root| root.to_owned());
}

#[test]
fn inner_directory_of_registry2_is_adopted() {
    directory_of_registry2_is_adopted(|root| root.join("docker/registry/v2"));
}

#[test]
fn registry2_misses_images_deleted_here() {
    let user = Terminal::open();
    let registry = Server::start();
    for tag in ["kept", "untagged", "deleted"] {
        let image = Image::saved(&user, tag, tag);
        let name = registry.at("team/app");
        user.run(&format!("crane push {tag} {name}:{tag}"));
        match tag {
            "untagged" => user.run(&format!("crane delete {name}:{tag}")),
            "deleted" => user.run(&format!("crane delete {name}@{}", image.digest)),
            _ => String::new(),
        };
    }
    let data = registry.data().to_owned();
    let _kept = registry.stop();

    let there = Distribution::version_2_on(&data);

    assert_eq!("kept", user.run(&format!("crane ls {}", there.at("team/app"))));
    for tag in ["untagged", "deleted"] {
        user.fails(&format!("crane manifest {}", there.at(&format!("team/app:{tag}"))));
    }
    user.run(&format!("crane validate --remote {}", there.at("team/app:kept")));
}

#[test]
fn registry2_and_wharfinger_share_a_directory() {
    let user = Terminal::open();
    let root = user.path("registry");
    fs::create_dir(&root).expect("an empty directory");
    let mut pushed = BTreeMap::new();
    for round in ["one", "two"] {
        let theirs = Distribution::version_2_on(&root);
        let image = Image::saved(&user, round, &format!("theirs {round}"));
        user.run(&format!("crane push {round} {}", theirs.at(&format!("team/app:theirs-{round}"))));
        pushed.insert(format!("team/app:theirs-{round}"), image.digest);
        for (name, digest) in &pushed {
            assert_eq!(*digest, user.run(&format!("crane digest {}", theirs.at(name))), "{name}");
        }
        theirs.stop();

        let ours = Server::start_on(&root);
        let image = Image::saved(&user, round, &format!("ours {round}"));
        user.run(&format!("crane push {round} {}", ours.at(&format!("team/app:ours-{round}"))));
        pushed.insert(format!("team/app:ours-{round}"), image.digest);
        for (name, digest) in &pushed {
            assert_eq!(*digest, user.run(&format!("crane digest {}", ours.at(name))), "{name}");
        }
        ours.stop();
    }
}

#[test]
fn push_restores_garbage_collected_blobs() {
    let user = Terminal::open();
    let root = user.path("registry");
    fs::create_dir(&root).expect("an empty directory");
    let image = Image::saved(&user, "image", "an image");
    let push = |server: &Server| {
        let target = server.at("team/app:1");
        user.run(&format!("skopeo copy --dest-tls-verify=false oci:image:latest docker://{target}"));
    };
    let ours = Server::start_on(&root);
    push(&ours);
    ours.says(&format!("rm team/app@{}", image.digest));
    ours.stop();
    let before = blob_files(&root).len();
    Distribution::version_2_collects_garbage_on(&user, &root);
    assert!(blob_files(&root).len() < before, "there was nothing to collect");

    let ours = Server::start_on(&root);
    push(&ours);
    let source = ours.at("team/app:1");
    user.run(&format!("rm -rf back && skopeo copy --src-tls-verify=false docker://{source} oci:back:latest"));
}

/// One item of each kind, by name, with the digest that it must keep.
pub(crate) type Contents = BTreeMap<&'static str, String>;

pub(crate) fn push_one_of_each(user: &Terminal, at: impl Fn(&str) -> String) -> Contents {
    let docker = Engine::shared().terminal();
    let built = at("official/ubuntu:14.04");
    Engine::shared().builds(&docker, &built, &format!("from the engine to {built}"));
    docker.run(&format!("docker push {built}"));

    Image::saved(user, "image", "an image");
    user.run(&format!(
        "skopeo copy --dest-tls-verify=false oci:image:latest docker://{}",
        at("team/image:1")
    ));
    Index::saved(user, "index", "an index in an index");
    user.run(&format!("crane push --index index {}", at("team/deep/index:1")));
    user.run("echo hello > hello.txt");
    user.run(&format!("oras push --plain-http {} hello.txt:text/plain", at("team/artifact:1")));
    user.run(&format!(
        "oras attach --plain-http --artifact-type example/note {} hello.txt:text/plain",
        at("team/image:1")
    ));
    user.run("rm -rf demo && helm create demo && helm package demo --version 1.2.3");
    user.run(&format!("helm push demo-1.2.3.tgz --plain-http oci://{}", at("charts")));

    ["official/ubuntu:14.04", "team/image:1", "team/deep/index:1", "team/artifact:1", "charts/demo:1.2.3"]
        .into_iter()
        .map(|name| (name, user.run(&format!("crane digest {}", at(name)))))
        .collect()
}

/// Pulls every manifest and blob, by tag and by digest.
pub(crate) fn pull_all(user: &Terminal, contents: &Contents, at: impl Fn(&str) -> String) {
    for (name, digest) in contents {
        assert_eq!(*digest, user.run(&format!("crane digest {}", at(name))), "{name}");
        let (repository, _) = name.split_once(':').expect("a name with a tag");
        let by_digest = format!("{}@{digest}", at(repository));
        for reference in [&at(name), &by_digest] {
            user.run(&format!("rm -rf back && oras cp --from-plain-http --to-oci-layout {reference} back"));
        }
    }
    let listed: Vec<String> = user
        .run(&format!("crane catalog {} | sort", at("").trim_end_matches('/')))
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        vec!["charts/demo", "official/ubuntu", "team/artifact", "team/deep/index", "team/image"],
        listed
    );
}

fn all_that_was_pushed_here_is_pulled_from(start: fn(&Path) -> Distribution) {
    let user = Terminal::open();
    let registry = Server::start();
    let contents = push_one_of_each(&user, |name| registry.at(name));
    let data = registry.data().to_owned();
    let _kept = registry.stop();

    let there = start(&data);

    pull_all(&user, &contents, |name| there.at(name));
}

fn directory_of_registry2_is_adopted(as_given: fn(&Path) -> PathBuf) {
    let user = Terminal::open();
    let root = user.path("registry");
    fs::create_dir(&root).expect("an empty directory");
    let theirs = Distribution::version_2_on(&root);
    let contents = push_one_of_each(&user, |name| theirs.at(name));
    theirs.stop();
    let before = blob_files(&root);

    let ours = Server::start_on(&as_given(&root));

    pull_all(&user, &contents, |name| ours.at(name));
    assert_eq!(before, blob_files(&root), "an adopted blob stays the file that it was");
    ours.stop();
    let theirs = Distribution::version_2_on(&root);
    pull_all(&user, &contents, |name| theirs.at(name));
}

/// Returns the files of all blobs: path, inode number, length.
pub(crate) fn blob_files(root: &Path) -> Vec<(PathBuf, u64, u64)> {
    let mut files = Vec::new();
    let mut directories = vec![root.join("docker/registry/v2/blobs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of blobs can be read") {
            let entry = entry.expect("an entry of a directory can be read");
            let about = entry.metadata().expect("an entry of a directory is there");
            if about.is_dir() {
                directories.push(entry.path());
            } else {
                files.push((entry.path(), about.ino(), about.len()));
            }
        }
    }
    files.sort();
    files
}
