//! containerd, by way of its own client `ctr`: what nerdctl and Kubernetes pull with.

use crate::harness::{Engine, Index, Server};

#[test]
fn an_image_for_every_platform_is_pulled_and_pushed_again() {
    let registry = Server::start();
    let engine = Engine::shared();
    let user = engine.terminal();
    let ctr = format!("ctr --address {} --namespace clients", engine.containerd().display());
    let there = registry.at("team/everywhere:1");
    let again = registry.at("team/again:1");
    let index = Index::flat(&user, "everywhere", "through containerd");
    user.run(&format!("skopeo copy --all --dest-tls-verify=false oci:everywhere:latest docker://{there}"));

    user.run(&format!("{ctr} images pull --plain-http --all-platforms {there}"));
    user.run(&format!("{ctr} images push --plain-http {again} {there}"));

    assert_eq!(index.digest, user.run(&format!("crane digest {again}")));
    user.run(&format!("crane validate --remote {again}"));
}
