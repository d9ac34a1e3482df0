//! containerd through its own client `ctr`: Debian's 1.6, and the current 2.x of Kubernetes and nerdctl.

use crate::harness::{Containerd, Engine, Image, Index, PASSWORD, Server, Terminal};

#[test]
fn containerd_1_pulls_and_pushes_every_platform() {
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

#[test]
fn containerd_2_pulls_and_pushes_every_platform() {
    let registry = Server::start();
    let containerd = Containerd::start();
    let user = Terminal::open();
    let images = format!("ctr2 --address {} images", containerd.socket().display());
    let there = registry.at("team/everywhere:1");
    let again = registry.at("team/again:1");
    let index = Index::flat(&user, "everywhere", "through containerd 2");
    user.run(&format!("crane push --index everywhere {there}"));
    let digest = user.run(&format!("crane digest {there}"));

    user.run(&format!("{images} pull --plain-http --all-platforms {there}"));
    user.run(&format!("{images} push --plain-http {again} {there}"));
    user.run(&format!("{images} push --plain-http --local {again}-local {there}"));

    for name in [&again, &format!("{again}-local")] {
        assert_eq!(digest, user.run(&format!("crane digest {name}")));
        user.run(&format!("crane validate --remote {name}"));
    }
    for part in index.parts {
        user.run(&format!("crane manifest {}@{part}", registry.at("team/again")));
    }
}

/// `hosts.toml` names the certificate, and layers are fetched in parallel chunks.
#[test]
fn containerd_2_pulls_by_hosts_toml_in_parallel() {
    let registry = Server::secure(&["ann", "bob"]);
    let containerd = Containerd::start();
    let mut user = Terminal::open();
    user.set("SSL_CERT_FILE", registry.certificate().display().to_string());
    Image::saved(&user, "image", "in pieces");
    let image = registry.at("ann/app:1");
    user.run(&format!("crane auth login -u ann -p '{PASSWORD}' {}", registry.address()));
    user.run(&format!("crane push image {image}"));
    let ctr = |command: &str, login: &str| {
        format!(
            "ctr2 --address {} images {command} --user '{login}' --hosts-dir {}",
            containerd.socket().display(),
            containerd.hosts().display()
        )
    };
    let ann = format!("ann:{PASSWORD}");
    let [app, again, others] =
        ["ann/app:1", "ann/again:1", "bob/again:1"].map(|name| format!("{}/{name}", Containerd::NAME));
    let pull = |login: &str| format!("{} {app}", ctr("pull --snapshotter native", login));
    user.fails(&pull(&ann));
    containerd.trusts(&registry);

    user.fails(&pull("ann:wrong"));
    user.fails(&pull(&format!("bob:{PASSWORD}")));
    user.run(&pull(&ann));
    let pieces = registry.log().lines().filter(|line| line.contains("status=206")).count();
    assert!(pieces > 4, "{pieces} range requests:\n{}", registry.log());
    user.run(&format!("{} {again} {app}", ctr("push", &ann)));
    user.fails(&format!("{} {others} {app}", ctr("push", &ann)));

    user.run(&format!("crane validate --remote {}", registry.at("ann/again:1")));
}
