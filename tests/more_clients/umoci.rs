//! umoci, which changes images in a directory. skopeo copies them from and to the registry.

use crate::harness::PASSWORD;
use crate::setup::{push_image, secure, sign_in};

#[test]
fn umoci_changes_an_image_between_skopeo_copies() {
    let (registry, user) = secure();
    sign_in(&registry, &user);
    push_image(&registry, &user, "ann/app:1");
    let creds = |end: &str| format!("--{end}-creds 'ann:{PASSWORD}'");
    let (first, second) = (registry.at("ann/app:1"), registry.at("ann/app:2"));

    user.run(&format!("skopeo copy {} docker://{first} oci:layout:1", creds("src")));
    user.run("umoci unpack --image layout:1 bundle && echo more > bundle/rootfs/more");
    user.run(
        "umoci repack --image layout:2 bundle && umoci config --image layout:2 --config.label team=blue",
    );
    user.run(&format!("skopeo copy {} oci:layout:2 docker://{second}", creds("dest")));
    user.run(&format!("skopeo copy {} docker://{second} oci:back:2", creds("src")));

    user.run("umoci unpack --image back:2 again && cmp bundle/rootfs/more again/rootfs/more");
    let config = user.json(&format!("crane config {second}"));
    assert_eq!(config["config"]["Labels"]["team"], "blue");
    assert_eq!("2", user.run("umoci list --layout back"));
    assert_eq!("1\n2", user.run(&format!("crane ls {}", registry.at("ann/app"))));
}
