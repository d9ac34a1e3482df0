//! The life of an image on a registry, whatever keeps its content: pushed, pulled, copied, deleted and
//! collected.

use super::{Engine, Image, Index, ObjectStore, Server, Terminal};

/// docker builds, pushes, pulls and runs `official/ubuntu:14.04`. Returns the terminal.
pub(crate) fn docker_runs_an_image(registry: &Server, says: &str) -> Terminal {
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = registry.at("official/ubuntu:14.04");
    engine.builds(&user, &image, says);
    user.run(&format!("docker push {image}"));
    user.run(&format!("docker rmi {image}"));
    user.run(&format!("docker pull {image}"));
    assert_eq!(user.run(&format!("docker run --rm --network=none {image}")), says);
    user.run(&format!("docker rmi {image}"));
    user
}

/// crane and skopeo push, copy and pull an image, whose deletion frees its objects below `prefix`. Another
/// image stays. Deletions must take effect with the next collection.
pub(crate) fn images_are_copied_and_collected(registry: &Server, store: &ObjectStore, prefix: &str) {
    let user = Terminal::open();
    let (app, copy) = (registry.at("team/app:1"), registry.at("other/app:1"));
    let image = Image::saved(&user, "app", "in a bucket");
    Index::saved(&user, "everywhere", "in a bucket");
    user.run(&format!("crane push app {app}"));
    user.run(&format!("crane push --index everywhere {}", registry.at("team/everywhere:1")));
    user.run(&format!("crane pull --format oci {app} back && diff --recursive app/blobs back/blobs"));
    // Mounts, and does not send the layers again.
    let before = store.keys(prefix).len();
    user.run(&format!("crane copy {app} {copy}"));
    assert_eq!(store.keys(prefix).len(), before);
    user.run(&format!(
        "skopeo copy --src-tls-verify=false docker://{copy} oci:skopeo:1 && \
         skopeo copy --dest-tls-verify=false oci:skopeo:1 docker://{}",
        registry.at("third/app:1")
    ));
    let digest = user.run(&format!("crane digest {copy}"));
    assert_eq!(image.digest, digest);
    let checked = registry.says("check --read");
    assert!(checked.ends_with(": nothing missing"), "{checked}");

    for name in ["team/app", "other/app", "third/app"] {
        user.run(&format!("crane delete {}@{digest}", registry.at(name)));
    }
    let told = registry.says("gc --now");
    assert!(told.contains("freed"), "{told}");
    assert!(store.keys(prefix).len() < before, "{told}");
    user.run(&format!("crane pull --format oci {} left", registry.at("team/everywhere:1")));
}
