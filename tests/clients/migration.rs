//! The lines of docs/tutorials/from-registry-2.md: from nginx, htpasswd and docker-registry to one binary, in
//! place.

use crate::harness::{Daemon, Distribution, Engine, Nginx, PASSWORD, Page, Terminal};

/// Returns the commands of the page, one a line, with replaced texts.
fn commands(changes: &[(&str, &str)]) -> Vec<String> {
    let mut lines = Page::MIGRATION.block("sh").replace("\\\n", " ");
    for (written, real) in changes {
        assert!(lines.contains(written), "{written} is not in\n{lines}");
        lines = lines.replace(written, real);
    }
    lines.lines().map(str::to_owned).collect()
}

#[test]
fn migration_lines_replace_nginx_and_registry2() {
    let machine = Terminal::open();
    let at = |name: &str| machine.path(name).display().to_string();
    machine.run("mkdir -p var/lib/registry");
    let theirs = Distribution::version_2_on(&machine.path("var/lib/registry"));
    let nginx = Nginx::start(
        Page::BEHIND_NGINX.below("Accounts in nginx").block("nginx"),
        &[("127.0.0.1:5000", theirs.address())],
    );
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = nginx.at("team/app:1");
    engine.builds(&user, &image, "from before");
    user.run(&format!("echo '{PASSWORD}' | docker login -u ann --password-stdin {}", nginx.address()));
    user.run(&format!("docker push {image} && docker rmi {image}"));
    let digest = user.run(&format!("crane digest {}", theirs.at("team/app:1")));

    let address = nginx.address().to_owned();
    let etc = nginx.directory().display().to_string();
    let [stop, copy, serve, decide, grant] = commands(&[
        ("/var/lib/", &format!("{}/", at("var/lib"))),
        ("/etc/nginx/", &format!("{etc}/")),
        (" :443 ", &format!(" {address} ")),
        ("wharfinger ", &format!("{} ", env!("CARGO_BIN_EXE_wharfinger"))),
    ])
    .try_into()
    .expect("five lines");
    assert_eq!(stop, "systemctl stop nginx docker-registry");
    let _files = nginx.stop();
    theirs.stop();
    user.run(&copy);
    // A directory without a settings file.
    let serve = format!("cd {} && exec {serve}", at(""));
    let mut ours = Daemon::start("/bin/sh", &["-c", &serve], &machine.path("log"));
    assert_eq!(ours.address(), address);
    user.run(&decide);

    // Clients stay signed in, with their old passwords.
    user.run(&format!("docker pull {image}"));
    assert!(user.run(&format!("docker search --format '{{{{.Name}}}}' {address}/app")).ends_with("team/app"));
    let other = engine.terminal();
    other.fails(&format!("docker pull {image}"));
    other.fails(&format!("echo wrong | docker login -u bob --password-stdin {address}"));
    other.run(&format!("echo '{PASSWORD}' | docker login -u bob --password-stdin {address}"));
    let next = format!("{address}/team/app:2");
    other.run(&format!("docker tag {image} {next}"));
    other.fails(&format!("docker push {next}"));
    user.run(&grant);
    other.run(&format!("docker push {next} && docker rmi {image} && docker pull {image}"));

    // The way back.
    ours.stop();
    let theirs = Distribution::version_2_on(&machine.path("var/lib/registry"));
    for tag in ["1", "2"] {
        assert_eq!(user.run(&format!("crane digest {}", theirs.at(&format!("team/app:{tag}")))), digest);
    }
    user.run(&format!("crane validate --remote {}", theirs.at("team/app:1")));
    theirs.stop();
    let before = Distribution::version_2_on(&machine.path("var/lib/registry.before"));
    assert_eq!(user.run(&format!("crane ls {}", before.at("team/app"))), "1");
}
