//! The account commands, on a new data directory and on a server that requires accounts.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::daemon::Daemon;
use super::{WHARFINGER, success, text};

const PASSWORD: &str = "correct horse battery staple";

/// A data directory with the administrator `root`, and a running server.
struct Registry {
    scratch: TempDir,
    _server: Daemon,
    url: String,
}

impl Registry {
    fn start() -> Self {
        let scratch = TempDir::new().unwrap();
        let data = scratch.path().join("data");
        let data = data.to_str().unwrap();
        let add = ["user", "add", "root", "--admin", "--password-stdin", "--data", data];
        success("user add", &type_in(&add, &[], PASSWORD));
        let log = scratch.path().join("log");
        let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data];
        let server = Daemon::start(WHARFINGER, &serve, &log);
        let url = format!("http://{}", server.address());
        Self { scratch, _server: server, url }
    }

    /// Runs a command on the data directory, as the operator.
    fn operate(&self, command: &str, input: &str) -> Output {
        let data = self.scratch.path().join("data");
        let words: Vec<&str> = command.split(' ').chain(["--data", data.to_str().unwrap()]).collect();
        type_in(&words, &[], input)
    }

    fn says(&self, command: &str) -> String {
        success(command, &self.operate(command, PASSWORD))
    }

    fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.says(&format!("{command} --json"))).unwrap()
    }

    /// Runs a command on the server as a user, with the password on standard input.
    fn as_user(&self, user: &str, command: &str, input: &str) -> Output {
        let words = ["--server", &self.url, "--user", user, "--password-stdin"];
        let words: Vec<&str> = command.split(' ').chain(words).collect();
        type_in(&words, &[], &format!("{PASSWORD}\n{input}"))
    }
}

fn type_in(words: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(WHARFINGER)
        .args(words)
        .envs(variables.iter().copied())
        .current_dir(Path::new("/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn user_commands_add_list_change_and_remove() {
    let registry = Registry::start();
    registry.says("user add ann --password-stdin --description People");
    let users = registry.json("user list");
    let names: Vec<&str> =
        users.as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ann", "root"]);
    let again = registry.operate("user add ann --password-stdin", PASSWORD);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("already"), "{}", text(&again.stderr));
    let short = registry.operate("user add bob --password-stdin", "x");
    assert_eq!(short.status.code(), Some(1), "{}", text(&short.stderr));
    for none in ["", "\n"] {
        assert_ne!(registry.operate("user add bob --password-stdin", none).status.code(), Some(0));
    }

    success("as ann", &registry.as_user("ann", "user show", ""));
    let others = registry.as_user("ann", "user show root", "");
    assert_eq!(others.status.code(), Some(1));
    let changed = registry.as_user("ann", "user password ann", "another password of ann");
    success("user password", &changed);
    let old = registry.as_user("ann", "user show", "");
    assert_eq!(old.status.code(), Some(1), "the old password is no longer taken");
    registry.says("user change ann --disable");
    assert_eq!(registry.json("user show ann")["disabled"], true);
    let last = registry.operate("user remove root", "");
    assert!(text(&last.stderr).contains("last administrator"), "{}", text(&last.stderr));
    registry.says("user remove ann");
    assert_eq!(registry.json("user list").as_array().unwrap().len(), 1);
}

#[test]
fn organisation_commands_manage_every_resource() {
    let registry = Registry::start();
    registry.says("user add ann --password-stdin");
    registry.says("user add bob --password-stdin");
    registry.says("org add acme --owner ann");
    success("member", &registry.as_user("ann", "org member set acme bob writer", ""));
    assert_eq!(registry.json("org member list acme")[1]["role"], "writer");
    registry.says("team add acme/devs");
    registry.says("team member add acme/devs bob");
    assert_eq!(registry.json("team list acme")[0]["members"], 1);
    let no_robot = registry.operate("robot add deploy", "");
    assert!(
        text(&no_robot.stderr).contains("write OWNER+NAME, such as acme+ci"),
        "{}",
        text(&no_robot.stderr)
    );
    let secret = registry.says("robot add acme+deploy");
    let secret =
        secret.split_whitespace().find(|word| word.starts_with("wfr_")).expect("a secret").to_owned();
    registry.says("grant add acme+deploy pull acme/**");
    registry.says("grant add acme/devs push,delete tools/*");
    let grants = registry.json("grant list");
    assert_eq!(grants[0]["subject"], "acme+deploy");
    assert_eq!(grants[1]["rights"], serde_json::json!(["pull", "push", "delete"]));
    registry.says("grant remove acme/devs tools/*");
    assert_eq!(registry.json("grant list").as_array().unwrap().len(), 1);

    // A program signs in with the printed secret.
    let variables = [("WHARFINGER_TOKEN", secret.as_str())];
    let me = type_in(&["user", "show", "--server", &registry.url, "--json"], &variables, "");
    let me: Value = serde_json::from_str(&success("user show", &me)).unwrap();
    assert_eq!(me["name"], "acme+deploy");
    let token = registry.as_user("bob", "token create --label laptop --rights pull --expires 1d", "");
    let token = success("token create", &token);
    assert!(token.trim().starts_with("wfp_"), "{token}");
    let tokens = registry.json("token list --account bob");
    assert_eq!(tokens[0]["label"], "laptop");
    let change = format!("token change --account bob {}", tokens[0]["id"]);
    registry.says(&format!("{change} --label desk --rights all --expires never --repository bob/*"));
    let tokens = registry.json("token list --account bob");
    let changed = ["label", "rights", "repositories", "expires_at"].map(|key| tokens[0][key].clone());
    assert_eq!(Value::from(changed.to_vec()), serde_json::json!(["desk", null, ["bob/*"], null]));
    assert_eq!(registry.json(&format!("{change} --rights pull"))["rights"], serde_json::json!(["pull"]));
    for (wrong, code) in [(change.as_str(), 2), ("token change --account bob 999 --label x", 1)] {
        assert_eq!(registry.operate(wrong, "").status.code(), Some(code), "{wrong}");
    }
    let changed = registry.operate("user password bob --password-stdin", "another password of bob\n");
    success("user password", &changed);
    let remark = text(&changed.stderr);
    assert!(remark.contains("1 personal token stays valid"), "{remark}");
    assert!(remark.contains("wharfinger token remove --account bob --all"), "{remark}");
    assert_eq!(registry.operate("token remove --account bob", "").status.code(), Some(2));
    registry.says("token remove --account bob --all");
    assert_eq!(registry.json("token list --account bob"), serde_json::json!([]));
    let variables = [("WHARFINGER_TOKEN", token.trim())];
    let revoked = type_in(&["ls", "--server", &registry.url], &variables, "");
    assert_eq!(revoked.status.code(), Some(1));

    let log = registry.json("audit --action grant");
    let actions: Vec<_> =
        log.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["grant.set", "grant.set", "grant.remove"]);
    assert_eq!(log[0]["account"], "(operator)");
    assert!(!registry.says("audit --json").contains(&secret));
}

#[test]
fn command_refused_by_server_explains_sign_in() {
    let registry = Registry::start();
    let refused = type_in(&["user", "list", "--server", &registry.url], &[], "");
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(told.contains("--user NAME") && told.contains("WHARFINGER_TOKEN"), "{told}");
    let wrong = ["user", "list", "--server", &registry.url, "--user", "root", "--password-stdin"];
    let wrong = type_in(&wrong, &[], "not the password");
    assert!(text(&wrong.stderr).contains("wrong user name, password or token"), "{}", text(&wrong.stderr));
    let misplaced = type_in(&["user", "list", "--user", "root"], &[], "");
    assert_eq!(misplaced.status.code(), Some(2), "without --server there is nobody to sign in to");
}

#[test]
fn first_start_alone_creates_the_administrator() {
    let scratch = TempDir::new().unwrap();
    let (data, log) = (scratch.path().join("data"), scratch.path().join("log"));
    let file = scratch.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap(), "--admin", "ann"];
    let serve = [&serve[..], &["--admin-password-file", file.to_str().unwrap()]].concat();
    let sign_in = |server: &Daemon| {
        let url = format!("http://{}", server.address());
        let words = ["user", "show", "--server", &url, "--user", "ann", "--password-stdin", "--json"];
        let me = success("user show", &type_in(&words, &[], PASSWORD));
        assert_eq!(serde_json::from_str::<Value>(&me).unwrap()["administrator"], true, "{me}");
    };
    let mut server = Daemon::start(WHARFINGER, &serve, &log);
    sign_in(&server);
    server.stop();
    std::fs::write(&file, "another password, which does not count").unwrap();
    sign_in(&Daemon::start(WHARFINGER, &serve, &log));
    let without = type_in(&["serve", "--admin", "ann", "--data", data.to_str().unwrap()], &[], "");
    assert_eq!(without.status.code(), Some(2), "{}", text(&without.stderr));
}

#[test]
fn first_account_needs_a_named_directory() {
    let scratch = TempDir::new().unwrap();
    let add = |arguments: &[&str]| {
        let mut child = Command::new(WHARFINGER)
            .args([&["user", "add", "ann", "--admin", "--password-stdin"], arguments].concat())
            .current_dir(scratch.path())
            .env_remove("WHARFINGER_DATA")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let refused = add(&[]);
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(told.contains("no data directory `data` in ") && told.contains("--data DIR"), "{told}");
    assert!(!scratch.path().join("data").exists());
    success("user add", &add(&["--data", "data"]));
    assert_eq!(add(&[]).status.code(), Some(1), "now it is there, and so is ann");
}

#[test]
fn audit_since_accepts_days_and_dates() {
    let registry = Registry::start();
    registry.says("user add ann --password-stdin");
    for since in ["yesterday", "today", "1h", "2020-01-01"] {
        assert!(registry.says(&format!("audit --since {since}")).contains("user.add"), "{since}");
    }
    let wrong = registry.operate("audit --since someday", "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        text(&wrong.stderr).contains("such as 30m, 12h or 7d; or today, yesterday"),
        "{}",
        text(&wrong.stderr)
    );
}

/// The terminal asks for the password twice, to catch typing mistakes.
#[test]
fn password_prompt_appears_on_a_terminal() {
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let add = |words: &str, typed: &str| {
        let line = format!("{WHARFINGER} user add {words} --data {}", data.display());
        // `script` of Debian's bsdutils gives the command a terminal.
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .current_dir(scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs; it is in Debian's bsdutils");
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let ended = child.wait_with_output().unwrap();
        (ended.status.code(), text(&ended.stdout))
    };
    let (code, said) = add("root --admin", &format!("{PASSWORD}\n{PASSWORD}\n"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Password for root: ") && said.contains("Repeat the password: "), "{said}");
    let (code, said) = add("ann", &format!("{PASSWORD}\nanother password\n"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the two passwords differ"), "{said}");
}

/// Runs `serve` on loopback where it must refuse, and returns its error.
fn refuses_to_serve(data: &Path, variables: &[(&str, &str)], code: i32) -> String {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let output = type_in(&serve, variables, "");
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    text(&output.stderr)
}

#[test]
fn lost_accounts_keep_the_registry_closed() {
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let add = ["user", "add", "root", "--admin", "--password-stdin", "--data", data.to_str().unwrap()];
    success("user add", &type_in(&add, &[], PASSWORD));
    let database = data.join("wharfinger/metadata.db");
    std::fs::remove_file(&database).unwrap();
    let said = refuses_to_serve(&data, &[], 2);
    assert!(said.contains("has had accounts, and its database holds none now"), "{said}");
    assert!(said.contains(data.to_str().unwrap()) && said.contains("--open"), "{said}");
    assert!(!database.exists(), "no database is made in the place of the lost one");

    let log = scratch.path().join("log");
    let open = ["serve", "--listen", "127.0.0.1:0", "--open", "--data", data.to_str().unwrap()];
    let mut server = Daemon::start(WHARFINGER, &open, &log);
    server.address();
    server.stop();
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("no accounts: anyone who reaches this port"), "{said}");

    success("user add", &type_in(&add, &[], PASSWORD));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let mut server = Daemon::start(WHARFINGER, &serve, &log);
    server.address();
    server.stop();
    let said = std::fs::read_to_string(&log).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let root = data.canonicalize().unwrap();
    let begin = format!("wharfinger {version}: data {}; HTTP; configuration ", root.display());
    let lines = said.lines().filter(|line| line.contains(&begin) && line.ends_with("; 1 account"));
    assert_eq!(lines.count(), 1, "{said}");
}

#[test]
fn content_of_lost_accounts_is_not_opened() {
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let add = ["user", "add", "root", "--admin", "--password-stdin", "--data", data.to_str().unwrap()];
    success("user add", &type_in(&add, &[], PASSWORD));
    let lost = "has had accounts, and its database holds none now";
    // The same content by another path, and a copy of the content alone.
    let said = refuses_to_serve(&data.join("docker/registry/v2"), &[], 2);
    assert!(said.contains(lost), "{said}");
    assert!(!data.join("docker/registry/v2/wharfinger").exists(), "nothing is made");
    std::fs::remove_dir_all(data.join("wharfinger")).unwrap();
    let said = refuses_to_serve(&data, &[], 2);
    assert!(said.contains(lost), "{said}");
    // A new account makes it a registry again, and it stays closed.
    success("user add", &type_in(&add, &[], PASSWORD));
    assert!(data.join("wharfinger/accounts").exists());
}

#[test]
fn required_accounts_refuse_an_empty_volume() {
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let required = [("WHARFINGER_AUTH_REQUIRED", "true")];
    let said = refuses_to_serve(&data, &required, 2);
    assert!(said.contains("auth.required is set"), "{said}");
    assert!(!data.exists(), "nothing is made");
    let both = [required[0], ("WHARFINGER_OPEN", "true")];
    assert!(refuses_to_serve(&data, &both, 2).contains("contradict each other"));
}

#[test]
fn failed_serve_leaves_no_data_directory() {
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = type_in(&["serve", "--listen", &address, "--data", data.to_str().unwrap()], &[], "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(!data.exists());
}

#[test]
fn older_database_needs_consent() {
    let registry = super::Registry::at_rest();
    let database = registry.data().join("wharfinger/metadata.db");
    let copy = std::fs::read(&database).unwrap();
    registry.says("rm team/app-1:v1");
    std::fs::write(&database, copy).unwrap();
    let said = refuses_to_serve(&registry.data(), &[], 1);
    assert!(said.contains("is older than its last commit"), "{said}");
    assert!(said.contains("--accept-older-database"), "{said}");
    let (data, log) = (registry.data(), registry.scratch.path().join("log"));
    let accept =
        ["serve", "--listen", "127.0.0.1:0", "--accept-older-database", "--data", data.to_str().unwrap()];
    let mut server = Daemon::start(WHARFINGER, &accept, &log);
    server.address();
    server.stop();
    assert!(registry.says("ls").contains("team/app-1"));
}
