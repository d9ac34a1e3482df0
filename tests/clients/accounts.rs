//! Signing in, with the clients that people have.

use crate::harness::{Engine, Image, PASSWORD, Server, Terminal};

#[test]
fn docker_logs_in_pushes_its_own_and_is_refused_the_rest() {
    let registry = Server::with_accounts("", &["ann", "bob"]);
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = registry.at("ann/app:1");
    engine.builds(&user, &image, "of ann");
    let login = |name: &str, password: &str| {
        format!("echo '{password}' | docker login -u {name} --password-stdin {}", registry.address())
    };
    user.fails(&format!("docker push {image}"));
    let wrong = user.fails(&login("ann", "wrong"));
    assert!(wrong.contains("401") || wrong.contains("unauthorized"), "{wrong}");
    user.fails(&login("nobody", PASSWORD));
    user.run(&login("ann", PASSWORD));
    user.run(&format!("docker push {image}"));
    user.run(&format!("docker rmi {image} && docker pull {image}"));
    let others = registry.at("bob/app:1");
    user.run(&format!("docker tag {image} {others}"));
    let refused = user.fails(&format!("docker push {others}"));
    assert!(refused.contains("denied") || refused.contains("unknown"), "{refused}");
    let search = format!("docker search --format '{{{{.Name}}}}' {}", registry.at("app"));
    assert!(user.run(&search).ends_with("ann/app"));

    // Another user on the same machine.
    let second = engine.terminal();
    second.run(&login("bob", PASSWORD));
    second.fails(&format!("docker pull {image}"));
    assert_eq!(second.run(&search), "");
    registry.says("grant add everyone pull ann/app");
    second.run(&format!("docker pull {image}"));
    user.run(&format!("docker logout {}", registry.address()));
    user.run(&format!("docker pull {image}"));
    user.fails(&format!("docker push {image}"));
    assert!(user.run(&search).ends_with("ann/app"), "public is found without an account");
}

#[test]
fn a_robot_and_a_personal_token_sign_in_to_docker() {
    let registry = Server::with_accounts("", &["ann"]);
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = registry.at("ann/app:2");
    engine.builds(&user, &image, "for programs");
    let token = registry.says("token create --account ann --label laptop");
    user.run(&format!(
        "echo '{}' | docker login -u ann --password-stdin {}",
        token.trim(),
        registry.address()
    ));
    user.run(&format!("docker push {image}"));
    let made = registry.says("robot add ann+ci");
    let secret = made.split_whitespace().find(|word| word.starts_with("wfr_")).expect("a secret");
    let robot = engine.terminal();
    robot.run(&format!("echo '{secret}' | docker login -u ann+ci --password-stdin {}", registry.address()));
    robot.fails(&format!("docker pull {image}"));
    registry.says("grant add ann+ci pull ann/**");
    robot.run(&format!("docker pull {image}"));
    robot.fails(&format!("docker push {image}"));
}

/// Every client signs in in its own way, copies what it may, and is refused what it may not.
#[test]
fn skopeo_podman_crane_oras_regctl_and_helm_sign_in() {
    let registry = Server::with_accounts("", &["ann", "bob"]);
    let address = registry.address();
    let user = Terminal::open();
    Image::saved(&user, "image", "of ann");
    let password = format!("echo '{PASSWORD}' |");
    user.run(&format!("{password} skopeo login --tls-verify=false -u ann --password-stdin {address}"));
    user.run(&format!(
        "skopeo copy --dest-tls-verify=false oci:image:latest docker://{address}/ann/skopeo:1"
    ));
    user.fails(&format!(
        "skopeo copy --dest-tls-verify=false oci:image:latest docker://{address}/bob/skopeo:1"
    ));
    user.run(&format!("skopeo inspect --tls-verify=false docker://{address}/ann/skopeo:1"));

    let user = Terminal::open();
    user.fails(&format!("skopeo inspect --tls-verify=false docker://{address}/ann/skopeo:1"));
    user.run(&format!("{password} podman login --tls-verify=false -u ann --password-stdin {address}"));
    user.run(&format!("podman pull --tls-verify=false {address}/ann/skopeo:1"));
    user.run(&format!("podman push --tls-verify=false {address}/ann/skopeo:1 {address}/ann/podman:1"));
    // What is one's own is found, and not only what is public; and what is public without signing in.
    registry.says("grant add everyone pull ann/podman");
    let search = format!("podman search --tls-verify=false --format '{{{{.Name}}}}' {address}/ann/ | sort");
    assert_eq!(user.run(&search).lines().count(), 2, "{}", user.run(&search));
    user.run(&format!("podman logout {address}"));
    assert_eq!(user.run(&search), format!("{address}/ann/podman"));

    let user = Terminal::open();
    user.fails(&format!("crane digest --insecure {address}/ann/skopeo:1"));
    user.run(&format!("{password} crane auth login --insecure -u ann --password-stdin {address}"));
    user.run(&format!("crane copy --insecure {address}/ann/skopeo:1 {address}/ann/crane:1"));
    user.fails(&format!("crane copy --insecure {address}/ann/skopeo:1 {address}/bob/crane:1"));
    assert_eq!(3, user.run(&format!("crane catalog --insecure {address}")).lines().count());

    let user = Terminal::open();
    user.run(&format!("{password} oras login --plain-http -u ann --password-stdin {address}"));
    user.run(&format!("echo text >file && oras push --plain-http {address}/ann/oras:1 file"));
    user.fails(&format!("oras push --plain-http {address}/bob/oras:1 file"));

    let user = Terminal::open();
    user.run(&format!("regctl registry set --tls disabled {address}"));
    user.run(&format!("{password} regctl registry login -u ann --pass-stdin {address}"));
    user.run(&format!("regctl image copy {address}/ann/skopeo:1 {address}/ann/regctl:1"));

    let user = Terminal::open();
    user.run("helm create chart && helm package chart");
    user.run(&format!("{password} helm registry login --plain-http -u ann --password-stdin {address}"));
    user.run(&format!("helm push --plain-http chart-0.1.0.tgz oci://{address}/ann/charts"));
    user.fails(&format!("helm push --plain-http chart-0.1.0.tgz oci://{address}/bob/charts"));
}
