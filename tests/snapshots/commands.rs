//! The errors of commands: wrong command lines, servers that cannot be used, and refusals of the registry.

use std::fs;

use tempfile::TempDir;

use super::{assert_snapshot, failure};

#[test]
fn errors_of_commands_match_the_snapshot() {
    let mut all = String::new();
    let desk = TempDir::new().unwrap();
    fs::write(desk.path().join("empty.pem"), "").unwrap();
    fs::write(desk.path().join("password"), "a password for tests\n").unwrap();
    // Command lines.
    for words in [
        &["sevre"][..],
        &["login"],
        &["serve", "--lisen", "x"],
        &["serve", "--port", "5000"],
        &["serve", "--host", "0.0.0.0"],
        &["serve", "--cert", "a.pem"],
        &["serve", "--tls"],
        &["serve", "-d"],
        &["serve", "--storage", "/srv"],
        &["serve", "config.yml"],
        &["ls", "--insecure"],
        &["inspect"],
        &["ls", "Team/App"],
        &["inspect", "localhost:5000/app"],
        &["inspect", "app@sha256:00"],
        &["rm", "app"],
        &["rm", "--all", "app"],
        &["tag", "app:1", "other"],
        &["history", "app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
        &["undo"],
        &["undo", "app"],
        &["user", "change", "ann"],
        &["user", "add", "a b"],
        &["grant", "add", "ann", "read", "team/**"],
        &["mirror", "setup", "--for", "docker", "--registry", "localhost:5000"],
        &["config", "import"],
        &["config", "import", "absent.yml"],
        &["completions", "csh"],
        &["restore", "absent"],
        &["cert", "show"],
        &["cert", "make", "a b"],
        // Servers.
        &["ls", "--server", "localhost:5000"],
        &["ls", "--server", "registry.example.com"],
        &["ls", "--server", "ftp://localhost"],
        &["ls", "--server", "http://"],
        &["ls", "--server", "https://ann:secret@localhost"],
        &["ls", "--server", "http://localhost:5000/v2/"],
        &["ls", "--server", "http://localhost:5000/?a"],
        &["ls", "--server", "http://127.0.0.1:1"],
        &["ls", "--server", "https://127.0.0.1:1", "--ca", "absent.pem"],
        &["ls", "--server", "https://127.0.0.1:1", "--ca", "empty.pem"],
        &["ls", "--server", "http://127.0.0.1:1", "--user", "a:b"],
        &["ls", "--server", "http://127.0.0.1:1", "--password-stdin"],
        &["ls", "--user", "ann"],
        &["gc", "--server", "http://127.0.0.1:1"],
        &["backup", "--server", "http://127.0.0.1:1", "a.tar"],
        &["health"],
        &["reload"],
        // Data directories.
        &["ls"],
        &["ls", "--data", "absent"],
        &["ls", "--data", "password"],
        &["user", "add", "ann", "--data", "data"],
    ] {
        all += &failure(desk.path(), words, &[]);
    }
    assert_snapshot("commands", &all);
}

#[test]
fn refusals_of_a_registry_match_the_snapshot() {
    let mut all = String::new();
    let desk = TempDir::new().unwrap();
    fs::create_dir_all(desk.path().join("data/docker/registry/v2/blobs")).unwrap();
    for words in [
        &["ls", "absent"][..],
        &["inspect", "absent"],
        &["inspect", "absent:1.0"],
        &["tag", "absent:1.0", "other:1.0"],
        &["rm", "absent:1.0"],
        &["rm", "--all", "--yes", "absent"],
        &["search", "absent"],
        &["history", "absent"],
        &["history", "absent:1.0"],
        &["undo", "absent:1.0"],
        &["undo", "--run", "absent"],
        &["gc", "--explain", "absent:1.0"],
        &["user", "remove", "absent"],
        &["user", "show", "absent"],
        &["org", "remove", "absent"],
        &["org", "member", "set", "absent", "ann", "owner"],
        &["team", "list", "absent"],
        &["robot", "remove", "absent+ci"],
        &["robot", "add", "absent+ci"],
        &["token", "remove", "7"],
        &["grant", "add", "absent", "pull", "team/**"],
        &["grant", "remove", "absent", "team/**"],
        &["upstream", "test", "absent"],
        &["upstream", "purge", "absent"],
        &["webhook", "test", "absent"],
        &["webhook", "deliveries", "absent"],
        &["webhook", "remove", "7"],
        &["reload"],
    ] {
        all += &failure(desk.path(), words, &[]);
    }
    assert_snapshot("refusals", &all);
}
