//! buildx, the command of `docker build`, with a BuildKit of its own.

use crate::harness::{BuildKit, Index, Server, Terminal, build_context};
use crate::setup::{push_image, secure, sign_in};

#[test]
fn buildx_signs_in_builds_and_pushes() {
    let (registry, user) = secure();
    let kit = BuildKit::trusting(&registry);
    sign_in(&registry, &user);
    push_image(&registry, &user, "ann/base:1");
    build_context(&user, &registry.at("ann/base:1"), "of buildx");
    let app = registry.at("ann/app");
    user.run(&format!("buildx create --name kit --driver remote --use unix://{}", kit.socket().display()));
    let cache = format!("type=registry,ref={app}:cache");

    user.run(&format!("buildx build --push --tag {app}:1 --cache-to {cache},mode=max context"));
    user.fails(&format!("buildx build --push --tag {} context", registry.at("bob/app:1")));
    user.run("buildx prune --all --force");
    let told = user.run(&format!(
        "buildx build --progress plain --push --tag {app}:2 --cache-from {cache} context 2>&1"
    ));
    assert!(told.contains(" CACHED"), "{told}");
    user.run(&format!("crane validate --remote {app}:2"));
    assert_eq!("1\n2\ncache", user.run(&format!("crane ls {app}")));
}

/// `imagetools` uses HTTP for a registry on loopback, whatever the builder's configuration says.
#[test]
fn buildx_imagetools_joins_and_shows_images() {
    let registry = Server::start();
    let user = Terminal::open();
    let app = registry.at("team/app");
    let index = Index::flat(&user, "everywhere", "joined");
    user.run(&format!("crane push --index everywhere {app}:all"));
    let [amd64, arm64] = [0, 1].map(|number| format!("{app}@{}", index.parts[number]));

    user.run(&format!("buildx imagetools create --tag {app}:joined {amd64} {arm64}"));

    let shown = user.run(&format!("buildx imagetools inspect {app}:joined"));
    assert!(shown.contains("linux/amd64") && shown.contains("linux/arm64"), "{shown}");
    user.run(&format!("crane validate --remote {app}:joined"));
}
