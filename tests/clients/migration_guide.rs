//! The lines of docs/how-to/migration.md.

use std::fs;

use crate::harness::{Daemon, Distribution, Engine, Image, Nginx, PASSWORD, Page, Server, Terminal};

const WHARFINGER: &str = env!("CARGO_BIN_EXE_wharfinger");

/// Returns a block of lines with replaced texts.
fn with(block: &str, changes: &[(&str, &str)]) -> String {
    let mut lines = block.to_owned();
    for (written, real) in changes {
        assert!(lines.contains(written), "{written} is not in\n{lines}");
        lines = lines.replace(written, real);
    }
    lines
}

/// Splits a block at the line with this beginning.
fn before<'a>(block: &'a str, line: &str) -> &'a str {
    block.split(line).next().unwrap_or(block)
}

#[test]
fn guide_imports_the_file_of_registry2() {
    let user = Terminal::open();
    let data = user.path("registry");
    fs::create_dir(&data).expect("a directory");
    let theirs = Distribution::version_2_on(&data);
    Image::saved(&user, "app", "from before");
    user.run(&format!("crane push --insecure app {}", theirs.at("team/app:1")));
    let digest = user.run(&format!("crane digest {}", theirs.at("team/app:1")));
    theirs.stop();
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, cache: {{blobdescriptor: inmemory}}}}\n\
         http: {{addr: '127.0.0.1:0', headers: {{X-Content-Type-Options: [nosniff]}}}}\n",
        data.display()
    );
    fs::write(user.path("config.yml"), config).expect("a configuration file");
    let page = Page::MIGRATION_GUIDE.below("registry:2 and registry:3");
    let import = page.block("sh");
    user.run(&with(
        import,
        &[
            ("/etc/docker/registry/config.yml", "config.yml"),
            ("wharfinger config", &format!("{WHARFINGER} config")),
        ],
    ));
    assert!(page.blocks("sh")[1].ends_with("wharfinger serve --config wharfinger.toml\n"));
    let toml = user.path("wharfinger.toml").display().to_string();
    let mut ours = Daemon::start(WHARFINGER, &["serve", "--config", &toml], &user.path("log"));
    assert_eq!(user.run(&format!("crane digest {}/team/app:1", ours.address())), digest);
    ours.stop();
}

#[test]
fn guide_imports_nginx_and_registry2() {
    let user = Engine::shared().terminal();
    let data = user.path("registry");
    fs::create_dir(&data).expect("a directory");
    let theirs = Distribution::version_2_on(&data);
    let recipe = Page::BEHIND_NGINX.below("Accounts in nginx").block("nginx");
    let nginx = Nginx::start(recipe, &[("127.0.0.1:5000", theirs.address())]);
    let image = nginx.at("team/app:1");
    Engine::shared().builds(&user, &image, "through nginx");
    user.run(&format!("echo '{PASSWORD}' | docker login -u ann --password-stdin {}", nginx.address()));
    user.run(&format!("docker push {image} && docker rmi {image}"));
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: ':5000'}}\n",
        data.display()
    );
    fs::write(user.path("config.yml"), config).expect("a configuration file");
    let file = nginx.directory().join("nginx.conf").display().to_string();
    let block = Page::MIGRATION_GUIDE.below("registry:2 behind nginx").block("sh");
    let import = before(block, "systemctl").replace("wharfinger config", &format!("{WHARFINGER} config"));
    user.run(&with(&import, &[("/etc/nginx/conf.d/registry.conf", &file)]));
    let address = nginx.address().to_owned();
    theirs.stop();
    let _files = nginx.stop();

    user.run(&format!("{WHARFINGER} config check wharfinger.toml"));
    let toml = user.path("wharfinger.toml").display().to_string();
    let mut ours = Daemon::start(WHARFINGER, &["serve", "--config", &toml], &user.path("log"));
    assert_eq!(ours.address(), address, "the address of nginx");
    let rights = Page::MIGRATION_GUIDE.below("registry:2 and registry:3").blocks("sh")[2];
    user.run(
        &rights
            .replace("wharfinger user", &format!("{WHARFINGER} user"))
            .replace("wharfinger grant", &format!("{WHARFINGER} grant")),
    );
    user.run(&format!("docker pull {image}"));
    user.run(&format!("docker tag {image} {address}/team/app:2 && docker push {address}/team/app:2"));
    let stranger = Engine::shared().terminal();
    stranger.fails(&format!("docker pull {image}"));
    ours.stop();
}

#[test]
fn guide_copies_from_other_registries() {
    let (ours, mut user) = (Server::with_accounts("", &[]), Terminal::open());
    let data = user.path("registry");
    fs::create_dir(&data).expect("a directory");
    user.run(&format!("htpasswd -cbB users ann '{PASSWORD}'"));
    let theirs = Distribution::version_2_with_users(&data, &user.path("users"));
    // The password is typed at a terminal.
    let typed = |name: &str, host: &str| {
        format!("echo '{PASSWORD}' | skopeo login --tls-verify=false -u {name} --password-stdin {host}\n")
    };
    user.run(&typed("ann", theirs.address()));
    Image::saved(&user, "app", "to be copied");
    let names = ["team/app:1", "team/app:2", "team/base:1", "deep/er/name:1", "plain:1"];
    for name in names {
        let copy = "skopeo copy --quiet --dest-tls-verify=false oci:app:latest";
        user.run(&format!("{copy} docker://{}", theirs.at(name)));
    }
    user.run("rm -r runtime/containers");
    let administrator = format!("echo '{PASSWORD}' | {WHARFINGER} org add team --server http://");
    let harbor = with(
        Page::MIGRATION_GUIDE.below("Harbor").block("sh"),
        &[
            ("wharfinger org add team --server https://", &administrator),
            ("--user ann\n", "--user root --password-stdin\n"),
            ("skopeo login old.example.com\n", &typed("ann", "old.example.com")),
            ("skopeo login registry.example.com\n", &typed("root", "registry.example.com")),
        ],
    );
    let sync = "skopeo sync --src-tls-verify=false --dest-tls-verify=false --all";
    let real = [
        ("skopeo sync --all", sync),
        ("old.example.com", theirs.address()),
        ("registry.example.com", ours.address()),
    ];
    user.run(&with(&harbor, &real));
    let tags = |name: &str| {
        user.run(&format!("skopeo list-tags --tls-verify=false docker://{} | jq -r '.Tags[]'", ours.at(name)))
    };
    assert_eq!((tags("team/app").as_str(), tags("team/base").as_str()), ("1\n2", "1"));
    let zot = Page::MIGRATION_GUIDE.below("zot").block("sh");
    user.set("OLD_USER", "ann");
    user.set("OLD_PASSWORD", PASSWORD);
    user.run(&with(&with(zot, &real), &[("https://", "http://")]));
    for name in names {
        let inspect = "skopeo inspect --tls-verify=false --format '{{.Digest}}'";
        let digest = |at: String| user.run(&format!("{inspect} docker://{at}"));
        assert_eq!(digest(ours.at(name)), digest(theirs.at(name)), "{name}");
    }
    theirs.stop();
}
