//! buildah: build from scratch, push, pull.

use crate::harness::{Server, Terminal};

#[test]
fn buildah_pushes_and_pulls_a_scratch_image() {
    let registry = Server::start();
    let user = Terminal::open();
    let image = registry.at("team/built:1");
    user.run("buildah from --name work scratch");
    user.run("buildah copy work /bin/busybox /bin/busybox");
    user.run("buildah config --cmd /bin/busybox --label org.opencontainers.image.description=Built work");
    user.run("buildah commit --quiet work built");
    let id = user.run("buildah images --quiet --no-trunc built");

    user.run(&format!("buildah push --tls-verify=false --digestfile pushed built docker://{image}"));
    user.run("buildah rm work && buildah rmi built");
    let pulled = user.run(&format!("buildah pull --quiet --tls-verify=false {image}"));

    assert_eq!(id, format!("sha256:{}", pulled.trim_start_matches("sha256:")));
    assert_eq!(user.run("cat pushed"), user.run(&format!("crane digest {image}")));
}

#[test]
fn buildah_builds_on_a_base_from_the_registry() {
    let registry = Server::start();
    let user = Terminal::open();
    let base = registry.at("team/base");
    user.run("buildah from --name work scratch");
    user.run("buildah copy work /bin/busybox /bin/busybox");
    user.run("buildah commit --quiet work base");
    user.run(&format!("buildah push --tls-verify=false base docker://{base}"));
    user.run("buildah rmi --force base");
    user.run("cp /usr/share/common-licenses/Apache-2.0 license");
    user.run(&format!("printf 'FROM {base}\\nCOPY license /license\\n' > Containerfile"));

    let image = registry.at("team/app:1");
    user.run(&format!("buildah build --tls-verify=false --layers --tag {image} --file Containerfile ."));
    user.run(&format!("buildah push --tls-verify=false {image}"));

    let layers = |name| user.json(&format!("crane manifest {name}"))["layers"].as_array().map_or(0, Vec::len);
    assert_eq!((1, 2), (layers(&base), layers(&image)));
}

#[test]
fn buildah_pushes_a_manifest_list_with_images() {
    let registry = Server::start();
    let user = Terminal::open();
    let image = registry.at("team/everywhere:1");
    user.run("buildah manifest create everywhere");
    for platform in ["amd64", "arm64"] {
        user.run(&format!("buildah from --name {platform} --arch {platform} scratch"));
        user.run(&format!("echo {platform} > {platform}.txt && buildah copy {platform} {platform}.txt /"));
        user.run(&format!("buildah commit --quiet --manifest everywhere {platform}"));
    }

    user.run(&format!("buildah manifest push --all --tls-verify=false everywhere docker://{image}"));

    let index = user.json(&format!("crane manifest {image}"));
    assert_eq!(2, index["manifests"].as_array().map_or(0, Vec::len), "{index}");
    user.run(&format!("crane validate --remote {image}"));
}
