//! nerdctl, docker's command line for containerd.

use crate::harness::{Containerd, PASSWORD};
use crate::setup::{push_image, secure, sign_in};

#[test]
fn nerdctl_signs_in_pushes_and_pulls() {
    let (registry, user) = secure();
    let containerd = Containerd::start();
    sign_in(&registry, &user);
    let digest = push_image(&registry, &user, "ann/app:1");
    user.run(&format!("crane auth logout {}", registry.address()));
    let (first, second) = (registry.at("ann/app:1"), registry.at("ann/again:1"));
    let nerdctl = format!(
        "nerdctl --address {} --snapshotter native --hosts-dir {} --data-root {}",
        containerd.socket().display(),
        containerd.hosts().display(),
        user.path("nerdctl").display()
    );
    let login = |password: &str| {
        format!("echo '{password}' | {nerdctl} login -u ann --password-stdin {}", registry.address())
    };
    containerd.trusts(&registry);
    user.fails(&login("wrong"));
    user.fails(&format!("{nerdctl} pull {first}"));

    user.run(&login(PASSWORD));
    user.run(&format!("{nerdctl} pull {first} && {nerdctl} tag {first} {second}"));
    user.run(&format!(
        "{nerdctl} push {second} && {nerdctl} rmi {first} {second} && {nerdctl} pull {second}"
    ));

    let others = registry.at("bob/app:1");
    user.fails(&format!("{nerdctl} tag {second} {others} && {nerdctl} push {others}"));
    assert!(user.run(&format!("{nerdctl} images --digests --no-trunc {second}")).contains(&digest));
    sign_in(&registry, &user);
    assert_eq!(digest, user.run(&format!("crane digest {second}")));
}
