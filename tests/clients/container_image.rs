//! The container image of the Containerfile, in place of the image of `registry:2`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{Distribution, Engine, Image, Server, Terminal, free_address};

/// The user of the image.
const USER: u32 = 65_532;

/// Builds the image of the tested binary with buildah, and pushes it to a registry.
fn built(user: &Terminal, image: &str) {
    let (source, binary) = (env!("CARGO_MANIFEST_DIR"), env!("CARGO_BIN_EXE_wharfinger"));
    // A directory outside of the source, relative to that of the user.
    user.run(&format!("{source}/scripts/image --binary {binary} --out image --tag built"));
    // A second time, the directory has the files of the first one.
    user.run(&format!("{source}/scripts/image --binary {binary} --out image --root-only"));
    assert!(user.path("image/root/usr/bin/wharfinger").exists());
    let refused = user.fails(&format!("{source}/scripts/image --binary {binary} --out . --root-only"));
    assert!(refused.contains("holds other files") && user.path("image").exists(), "{refused}");
    user.run("rm -r image");
    user.run(&format!("buildah push --format v2s2 --tls-verify=false built docker://{image}"));
}

/// A directory of `registry:2` with an image, of this owner.
struct Volume(TempDir);

impl Volume {
    fn with_image(owner: u32) -> Volume {
        let scratch = TempDir::new().expect("a temporary directory");
        let theirs = Distribution::version_2_on(scratch.path());
        let user = Terminal::open();
        Image::saved(&user, "old", "from before");
        user.run(&format!("crane push --insecure old {}", theirs.at("team/old:1")));
        theirs.stop();
        let volume = Volume(scratch);
        user.run(&format!(
            "chown -R {owner}:{owner} {} && chmod 755 {}",
            volume.v2().display(),
            volume.0.path().display()
        ));
        volume
    }

    fn v2(&self) -> PathBuf {
        self.0.path().join("docker/registry/v2")
    }
}

/// Starts a container of the image on the volume, with the line of a `registry:2`. The engine has no network
/// of its own, so the host's one replaces `-p 5000:5000`.
fn run_line(image: &str, address: &str, volume: &Path, name: &str, more: &str) -> String {
    format!(
        "docker run -d --name {name} --network host -e WHARFINGER_LISTEN={address} \
         -v {}:/var/lib/registry/docker/registry/v2 {more} {image}",
        volume.display()
    )
}

#[test]
fn image_replaces_registry2_on_its_volume() {
    let registry = Server::start();
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = registry.at("tools/wharfinger:1");
    built(&user, &image);
    user.run(&format!("docker pull {image}"));
    let config = user.json(&format!("docker image inspect --format '{{{{json .Config}}}}' {image}"));
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], serde_json::json!(["wharfinger"]));
    assert_eq!(config["Cmd"], serde_json::json!(["serve"]));
    assert_eq!(config["Healthcheck"]["Test"], serde_json::json!(["CMD", "wharfinger", "health"]));
    assert!(
        config["Volumes"]["/var/lib/registry"].is_object() && config["ExposedPorts"]["5000/tcp"].is_object()
    );

    let volume = Volume::with_image(USER);
    let name = format!("registry-{}", std::process::id());
    // An open registry is nothing that one gets by accident.
    user.run(&run_line(&image, ":5000", &volume.v2(), &name, ""));
    assert_eq!(user.run(&format!("docker wait {name}")), "2");
    let said = user.run(&format!("docker logs {name} 2>&1 && docker rm {name} >/dev/null"));
    assert!(said.contains("refusing to listen") && said.contains("WHARFINGER_OPEN=true"), "{said}");

    let address = free_address();
    user.run(&run_line(&image, &address, &volume.v2(), &name, "-e WHARFINGER_OPEN=true"));
    let at = |name: &str| format!("{address}/{name}");
    user.run(&format!(
        "curl -sSf --retry 50 --retry-delay 1 --retry-connrefused -o /dev/null http://{address}/v2/"
    ));
    user.run(&format!("docker exec {name} wharfinger health"));
    assert_eq!(user.run(&format!("docker exec {name} wharfinger ls team/old --json | jq -r '.[].tag'")), "1");
    user.run(&format!("docker pull {}", at("team/old:1")));
    user.run(&format!("docker tag {0} {1} && docker push {1}", at("team/old:1"), at("team/new:2")));
    // Without the container, its database is in the volume.
    user.run(&format!("docker stop --time 40 {name} && docker rm --volumes {name}"));
    assert!(volume.v2().join("wharfinger/metadata.db").exists());
    assert_eq!(fs::metadata(volume.v2().join("wharfinger/metadata.db")).expect("metadata").uid(), USER);
    let theirs = Distribution::version_2_on(volume.0.path());
    user.run(&format!("crane validate --insecure --remote {}", theirs.at("team/new:2")));
}

#[test]
fn image_names_the_chown_of_a_foreign_volume() {
    let registry = Server::start();
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = registry.at("tools/wharfinger:2");
    built(&user, &image);
    user.run(&format!("docker pull {image}"));
    let volume = Volume::with_image(0);
    let name = format!("foreign-{}", std::process::id());
    user.run(&run_line(&image, &free_address(), &volume.v2(), &name, "-e WHARFINGER_OPEN=true"));
    assert_eq!(user.run(&format!("docker wait {name}")), "1");
    let said = user.run(&format!("docker logs {name} 2>&1 && docker rm --volumes {name} >/dev/null"));
    let chown = "chown -R 65532 /var/lib/registry/docker/registry/v2, or the directory of the host that is mounted there";
    assert!(said.contains(chown), "{said}");
}
