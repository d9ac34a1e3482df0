//! The trust lines that `serve --tls-self-signed` prints, typed on an isolated machine: clients refuse the
//! certificate before, and accept it after.

use crate::harness::{Engine, Machine, PASSWORD, Terminal};

/// Returns the text below a printed heading.
fn lines_for(client: &str, printed: &str) -> String {
    let mut lines = printed.lines().skip_while(|line| !line.starts_with(client));
    assert!(lines.next().is_some_and(|heading| heading.ends_with(':')), "nothing for {client} in\n{printed}");
    let lines: Vec<&str> = lines.map_while(|line| line.strip_prefix("  ")).collect();
    assert!(!lines.is_empty(), "nothing for {client} in\n{printed}");
    lines.join("\n")
}

/// Checks that a command fails because of the certificate, and for no other reason.
fn is_not_trusted(terminal: &Terminal, line: &str) {
    let refused = terminal.fails(&format!("{line} || exit 1"));
    assert!(refused.contains("certificate"), "{line}\n{refused}");
}

/// The registry's name and address, with the port unless it is the default.
fn registries(port: u16) -> [String; 2] {
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    [Machine::NAME, Machine::ADDRESS].map(|host| format!("{host}{port}"))
}

fn docker_login(registry: &str) -> String {
    format!("echo '{PASSWORD}' | docker login -u ann --password-stdin {registry}")
}

fn docker_is_refused(engine: &Engine, port: u16) {
    let user = engine.terminal();
    for registry in registries(port) {
        is_not_trusted(&user, &docker_login(&registry));
        is_not_trusted(&user, &format!("docker pull {registry}/ann/app:1"));
    }
}

fn docker_is_let_in(engine: &Engine, port: u16) {
    let user = engine.terminal();
    for registry in registries(port) {
        let image = format!("{registry}/ann/app:1");
        engine.builds(&user, &image, "over HTTPS");
        user.run(&docker_login(&registry));
        user.run(&format!("docker push {image} && docker rmi {image} && docker pull {image}"));
        let found = user.run(&format!("docker search --format '{{{{.Name}}}}' {registry}/app"));
        assert!(found.ends_with("ann/app"), "{found}");
    }
}

#[test]
fn printed_trust_lines_make_clients_trust_it() {
    let mut machine = Machine::start();
    let port = 5000;
    let printed = machine.serves(port);
    assert!(printed.contains(&format!("docker push {}/", registries(port)[0])), "{printed}");
    let operator = machine.terminal();
    let again = operator.run(&format!(
        "{} cert show --port 5000 --data {}",
        env!("CARGO_BIN_EXE_wharfinger"),
        machine.data().display()
    ));
    let engine = machine.engine();
    for client in ["docker", "podman", "containerd", "the whole system"] {
        assert_eq!(lines_for(client, &printed), lines_for(client, &again), "{client}");
    }

    docker_is_refused(&engine, port);
    operator.run(&lines_for("docker", &printed));
    docker_is_let_in(&engine, port);
    // podman reads docker's directory.
    operator.run("rm -r /etc/docker/certs.d");
    docker_is_refused(&engine, port);

    let user = machine.terminal();
    let creds = format!("--creds 'ann:{PASSWORD}'");
    for registry in registries(port) {
        is_not_trusted(&user, &format!("skopeo inspect {creds} docker://{registry}/ann/app:1"));
        is_not_trusted(&user, &format!("podman pull {creds} {registry}/ann/app:1"));
    }
    operator.run(&lines_for("podman", &printed));
    for registry in registries(port) {
        user.run(&format!("skopeo inspect {creds} docker://{registry}/ann/app:1"));
        user.run(&format!("podman pull {creds} {registry}/ann/app:1"));
        user.run(&format!("podman push {creds} {registry}/ann/app:1 {registry}/ann/podman:1"));
        user.run(&format!("container=$(buildah from {creds} {registry}/ann/app:1) && buildah rm $container"));
    }
    operator.run("rm -r /etc/containers/certs.d");

    // `--hosts-dir` of ctr corresponds to `config_path` in containerd's configuration.
    let ctr = format!("ctr --address {} images", engine.containerd().display());
    let pull = format!("{ctr} pull --hosts-dir /etc/containerd/certs.d --user 'ann:{PASSWORD}'");
    for registry in registries(port) {
        is_not_trusted(&user, &format!("{pull} {registry}/ann/app:1"));
    }
    operator.run(&lines_for("containerd", &printed));
    for registry in registries(port) {
        user.run(&format!("{pull} {registry}/ann/app:1"));
    }
    operator.run("rm -r /etc/containerd/certs.d");

    let listed = |registry: &str| {
        format!(
            "echo '{PASSWORD}' | {} ls --server https://{registry} --user ann --password-stdin",
            env!("CARGO_BIN_EXE_wharfinger")
        )
    };
    for registry in registries(port) {
        is_not_trusted(&user, &format!("curl -sSf https://{registry}/healthz"));
        is_not_trusted(&user, &listed(&registry));
    }
    operator.run(&lines_for("the whole system", &printed));
    for registry in registries(port) {
        user.run(&format!("curl -sSf https://{registry}/healthz"));
        assert!(user.run(&listed(&registry)).contains("ann/app"));
        user.run(&format!("skopeo inspect {creds} docker://{registry}/ann/app:1"));
    }
    // A running engine has read the system's certificates already.
    docker_is_refused(&engine, port);
    docker_is_let_in(&machine.engine(), port);
}

/// The default port is left out of a registry's name, and of the directories that clients read.
#[test]
fn printed_trust_lines_work_on_port_443() {
    let mut machine = Machine::start();
    let port = 443;
    let printed = machine.serves(port);
    assert!(printed.contains(&format!("docker push {}/", registries(port)[0])), "{printed}");
    let (operator, engine) = (machine.terminal(), machine.engine());
    docker_is_refused(&engine, port);
    operator.run(&lines_for("docker", &printed));
    docker_is_let_in(&engine, port);
    operator.run("rm -r /etc/docker/certs.d");
    let pulls = registries(port).map(|registry| {
        let creds = format!("--creds 'ann:{PASSWORD}'");
        let ctr = format!("ctr --address {} images pull --hosts-dir", engine.containerd().display());
        [
            format!("skopeo inspect {creds} docker://{registry}/ann/app:1"),
            format!("{ctr} /etc/containerd/certs.d --user 'ann:{PASSWORD}' {registry}/ann/app:1"),
        ]
    });
    pulls.iter().flatten().for_each(|pull| is_not_trusted(&operator, pull));
    operator.run(&lines_for("podman", &printed));
    operator.run(&lines_for("containerd", &printed));
    for pull in pulls.iter().flatten() {
        operator.run(pull);
    }
}
