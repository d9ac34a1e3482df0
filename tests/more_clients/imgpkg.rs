//! imgpkg of Carvel: files as images, bundles, and copies with all referenced images.

use crate::harness::PASSWORD;
use crate::setup::{push_image, secure, sign_in};

#[test]
fn imgpkg_pushes_lists_copies_and_pulls() {
    let (registry, user) = secure();
    sign_in(&registry, &user);
    let app = format!("{}@{}", registry.at("ann/app"), push_image(&registry, &user, "ann/app:1"));
    user.run(&format!("crane auth logout {}", registry.address()));
    let imgpkg = |command: &str, password: &str| {
        format!(
            "imgpkg {command} --registry-ca-cert-path {} --registry-username ann --registry-password '{password}'",
            registry.certificate().display()
        )
    };
    let lock =
        format!("---\napiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n- image: {app}\n");
    user.run("mkdir -p bundle/.imgpkg && echo text > bundle/file");
    std::fs::write(user.path("bundle/.imgpkg/images.yml"), lock).expect("a file can be written");
    let (bundle, copy) = (registry.at("ann/bundle"), registry.at("ann/copy"));
    user.fails(&imgpkg(&format!("push -b {bundle}:1 -f bundle"), "wrong"));

    user.run(&imgpkg(&format!("push -b {bundle}:1 -f bundle"), PASSWORD));
    user.fails(&imgpkg(&format!("push -b {}:1 -f bundle", registry.at("bob/bundle")), PASSWORD));
    user.run(&imgpkg(&format!("copy -b {bundle}:1 --to-repo {copy}"), PASSWORD));

    user.run(&format!(
        "{} && cmp bundle/file back/file",
        imgpkg(&format!("pull -b {copy}:1 -o back"), PASSWORD)
    ));
    let tags = user.run(&imgpkg(&format!("tag list -i {bundle}"), PASSWORD));
    assert!(tags.lines().any(|line| line.trim().starts_with('1')), "{tags}");
    user.run(&imgpkg(&format!("copy -b {copy}:1 --to-tar bundle.tar"), PASSWORD));
}
