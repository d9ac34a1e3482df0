//! Signing in with real clients.

use crate::harness::{Engine, Image, PASSWORD, Server, Terminal};

#[test]
fn docker_pushes_only_to_its_own_namespace() {
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
    assert!(refused.contains("requested access to the resource is denied"), "{refused}");
    let search = format!("docker search --format '{{{{.Name}}}}' {}", registry.at("app"));
    assert!(user.run(&search).ends_with("ann/app"));

    // Another user of the same machine.
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
fn docker_signs_in_with_robot_and_personal_token() {
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

/// Every client signs in in its own way, copies allowed images, and is refused others.
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
    // A search finds private repositories of the account as well, and without an account only public ones.
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

/// No password, token or secret, right or wrong, appears in the log, in the audit log or in the data
/// directory.
#[test]
fn no_secret_is_logged() {
    let settings = r#"
        log.level = "trace"
        audit = { log = true, pulls = true }
        auth.self_registration = true
        tls.self_signed = ["127.0.0.1"]
    "#;
    let registry = Server::with_accounts(settings, &["ann"]);
    let token = registry.says("token create --account ann --label laptop");
    let robot = registry.says("robot add ann+ci");
    let user = Terminal::open();
    let base = format!("https://{}", registry.address());
    let answer = |options: &str, path: &str| user.run(&format!("curl -sk {options} '{base}{path}'"));
    let json = "-H 'Content-Type: application/json' -d";
    let registration = r#"{"name": "dora", "password": "the password of dora"}"#;
    answer(&format!("{json} '{registration}'"), "/api/v1/registration");
    answer(
        &format!("-u 'ann:{PASSWORD}' {json} '{{\"password\": \"the next one of ann\"}}' -X PATCH"),
        "/api/v1/users/ann",
    );
    let ann = "-u 'ann:the next one of ann'";
    let issued = |options: &str, path: &str, field: &str| -> String {
        let answer: serde_json::Value = serde_json::from_str(&answer(options, path)).expect("JSON");
        answer[field].as_str().unwrap_or_else(|| panic!("no {field} in {answer}")).to_owned()
    };
    let scope = "/token?service=wharfinger&scope=repository:ann/app:pull,push";
    let bearer = issued(ann, scope, "token");
    let form = "-d 'grant_type=password&username=dora&password=the+password+of+dora&access_type=offline'";
    let refresh = issued(form, "/token", "refresh_token");
    let again = issued(&format!("-d 'grant_type=refresh_token&refresh_token={refresh}'"), "/token", "token");
    for (credentials, path) in [
        (format!("-u 'ann:{}'", token.trim()), "/v2/"),
        (format!("-u 'ann+ci:{}'", robot.trim()), "/v2/ann/app/manifests/1"),
        (format!("-H 'Authorization: Bearer {bearer}' -X POST"), "/v2/ann/app/blobs/uploads/"),
        (format!("-H 'Authorization: Bearer {again}x'"), "/v2/"),
        ("-u 'ann:a wrong password'".to_owned(), "/v2/"),
        ("-u 'ann:a wrong password'".to_owned(), "/auth"),
        ("-d 'grant_type=password&username=ann&password=a+wrong+password'".to_owned(), "/token"),
        (
            "-H 'Cookie: session=of+ann' -H 'X-Docker-Token: for+ann'".to_owned(),
            "/token?password=in+the+address",
        ),
        (format!("-u 'ann:the next one of ann' {json} '{{\"secret\": \"in a field\"}}'"), "/api/v1/robots"),
    ] {
        answer(&credentials, path);
    }
    let data = registry.data().join("wharfinger/metadata.db");
    let audit = registry.says("audit --json");
    let log = registry.log();
    let scratch = registry.stop();
    let kept = String::from_utf8_lossy(&std::fs::read(data).expect("the database is there")).into_owned();
    assert!(log.contains("TRACE") && log.contains("\"sign_in\"") && audit.contains("sign_in"), "{log}");
    let mut secrets = vec![PASSWORD, token.trim(), robot.trim(), &bearer, &refresh, &again];
    secrets.extend([
        "the password of dora",
        "the+password+of+dora",
        "the next one of ann",
        "a wrong password",
    ]);
    secrets.extend(["a+wrong+password", "of+ann", "for+ann", "in+the+address", "in a field"]);
    for secret in secrets {
        // In plain text, and in the encoding of Basic.
        let encoded = ["ann", "dora", "ann+ci", "root"]
            .map(|name| user.run(&format!("printf '%s' '{name}:{secret}' | base64 -w 0")));
        for text in std::iter::once(secret).chain(encoded.iter().map(String::as_str)) {
            for (place, content) in [("the log", &log), ("the audit log", &audit), ("the database", &kept)] {
                assert!(!content.contains(text), "{text} is in {place}");
            }
        }
    }
    drop(scratch);
}
