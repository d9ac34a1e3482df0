//! The configuration of the built program: files, variables, flags and messages.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A temporary working directory, optionally with a configuration file.
struct Desk(TempDir);

impl Desk {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(file: &str) -> Self {
        let desk = Self::empty();
        std::fs::write(desk.path().join("wharfinger.toml"), file).unwrap();
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
            .current_dir(self.path())
            .args(arguments)
            .env_clear()
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        Ran::from(output)
    }

    /// Returns the value and the origin of a setting, from `config check`.
    fn in_force(&self, setting: &str, variables: &[(&str, &str)], flags: &[&str]) -> (String, String) {
        let ran = self.run(&[&["config", "check"], flags].concat(), variables);
        assert_eq!(ran.code, 0, "{}", ran.errors);
        let line = ran.printed.lines().find(|line| line.starts_with(&format!("{setting} "))).unwrap();
        let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty()).skip(1);
        (columns.next().unwrap().to_owned(), columns.next().unwrap().to_owned())
    }
}

struct Ran {
    code: i32,
    printed: String,
    errors: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            printed: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[test]
fn unknown_key_is_refused_with_the_nearest() {
    let desk = Desk::with("# comment\n\nlisen = \"127.0.0.1:5000\"\n");
    let ran = desk.run(&["serve"], &[]);
    assert_eq!(ran.code, 2);
    assert_eq!(
        ran.errors,
        "error: unknown key `lisen` in wharfinger.toml line 3; did you mean `listen`?\n  \
         3 | lisen = \"127.0.0.1:5000\"\n    | ^\n"
    );
    assert_eq!(desk.run(&["config", "check"], &[]).code, 1);
}

#[test]
fn example_matches_the_file_and_is_valid() {
    let ran = Desk::empty().run(&["config", "example"], &[]);
    assert_eq!(ran.code, 0);
    assert!(
        ran.printed == include_str!("../wharfinger.toml"),
        "run `wharfinger config example > wharfinger.toml`"
    );
    let checked = Desk::with(&ran.printed).run(&["config", "check"], &[]);
    assert_eq!(checked.code, 0, "{}", checked.errors);
    assert!(checked.printed.starts_with("Read wharfinger.toml; nothing is wrong with it.\n"));
}

#[test]
fn flags_override_environment_and_file() {
    let desk = Desk::with("[log]\nlevel = \"warn\"\n");
    let variables = [("WHARFINGER_LOG_LEVEL", "debug")];
    let flags = ["--log-level", "trace"];
    let expect = |value: &str, from: &str| (format!("{value:?}"), from.to_owned());
    assert_eq!(Desk::empty().in_force("log.level", &[], &[]), expect("info", "default"));
    assert_eq!(desk.in_force("log.level", &[], &[]), expect("warn", "wharfinger.toml line 2"));
    assert_eq!(desk.in_force("log.level", &variables, &[]), expect("debug", "WHARFINGER_LOG_LEVEL"));
    assert_eq!(desk.in_force("log.level", &variables, &flags), expect("trace", "--log-level"));
}

#[test]
fn config_check_reports_all_mistakes_at_once() {
    let desk = Desk::with("listen = 5000\nopen = \"true\"\n[limit]\n[log]\nformat = \"xml\"\ndata = \"x\"\n");
    let variables = [("WHARFINGER_LIMITS_HEADER_TIMEOUT", "15"), ("WHARFINGER_DATE", "x")];
    let ran = desk.run(&["serve", "--log-level", "inof"], &variables);
    assert_eq!(ran.code, 2);
    let errors: Vec<&str> = ran.errors.lines().filter(|line| line.starts_with("error: ")).collect();
    let begins = [
        "error: `listen` in wharfinger.toml line 1 is 5000; expected an address with a port",
        "error: `open` in wharfinger.toml line 2 is \"true\"; expected true or false",
        "error: unknown section [limit] in wharfinger.toml line 3; did you mean [limits]?",
        "error: `log.format` in wharfinger.toml line 5 is \"xml\"; expected \"text\" or \"json\"",
        "error: unknown key `log.data` in wharfinger.toml line 6; did you mean `data`?",
        "error: unknown variable WHARFINGER_DATE in the environment; did you mean WHARFINGER_DATA?",
        "error: WHARFINGER_LIMITS_HEADER_TIMEOUT in the environment is \"15\"; expected a time",
        "error: --log-level is \"inof\"; expected a level",
    ];
    assert_eq!(errors.len(), begins.len(), "{}", ran.errors);
    for (error, begin) in errors.iter().zip(begins) {
        assert!(error.starts_with(begin), "{error}\n{begin}");
    }
    assert!(ran.errors.contains("  for seconds write \"15s\"") || ran.errors.contains("write \"15s\""));
}

#[test]
fn config_check_reports_every_kind_of_mistake() {
    let desk = Desk::with(
        "\u{feff}listen = \":5000\"\ncolour = 1\n[tls]\ncertificate = \"a.pem\"\nkey = \"b.pem\"\n\
         [auth]\n[log]\nlevel = \"info\"\nlevel = \"warn\"\n[limits]\nblob_bytes = 0\n",
    );
    let ran = desk.run(&["config", "check"], &[("WHARFINGER_AUTH_HTPASSWD", "c")]);
    assert_eq!(ran.code, 1);
    for told in [
        "unknown key `colour` in wharfinger.toml line 2",
        "`level` is given twice in wharfinger.toml: line 8 and line 9",
        "`limits.blob_bytes` in wharfinger.toml line 11 is 0; expected a size",
        "for no limit write \"unlimited\"",
        "cannot read c, which auth.htpasswd names",
        "cannot read a.pem, which tls.certificate names",
        "cannot read b.pem, which tls.key names",
    ] {
        assert!(ran.errors.contains(told), "{told}\n{}", ran.errors);
    }
}

#[test]
fn flags_of_other_programs_get_a_hint() {
    let ran = Desk::empty().run(&["serve", "--port", "5000"], &[]);
    assert_eq!(ran.code, 2);
    assert!(ran.errors.contains("`--listen :5000`"), "{}", ran.errors);
    assert!(!ran.errors.contains("--open"), "{}", ran.errors);
}

#[test]
fn invalid_toml_is_reported_with_line_and_column() {
    let ran = Desk::with("data = \"x\"\n[log\nlevel = \"info\"\n").run(&["serve"], &[]);
    assert_eq!(ran.code, 2);
    assert!(ran.errors.starts_with("error: wharfinger.toml line 2, column 5: "), "{}", ran.errors);
    assert!(ran.errors.contains("  2 | [log\n    |     ^\n"), "{}", ran.errors);
    let ran = Desk::with("listen = 127.0.0.1:5000\n").run(&["serve"], &[]);
    assert!(ran.errors.starts_with("error: wharfinger.toml line 1, column 10: text without quotes\n"));
    assert!(ran.errors.ends_with("  write listen = \"127.0.0.1:5000\"\n"), "{}", ran.errors);
}

#[test]
fn serve_without_accounts_stays_on_loopback() {
    let desk = Desk::empty();
    for arguments in [["serve", "--listen", ":5000"], ["serve", "--listen", "[::]:5000"]] {
        let ran = desk.run(&arguments, &[]);
        assert_eq!(ran.code, 2);
        assert!(ran.errors.starts_with("error: refusing to listen on "), "{}", ran.errors);
        assert!(ran.errors.contains("push, overwrite and delete every image"), "{}", ran.errors);
        assert!(ran.errors.contains("--open"), "{}", ran.errors);
    }
    assert!(!desk.path().join("data").exists(), "nothing is made before the configuration is right");
    assert_eq!(desk.run(&["config", "check", "--listen", ":5000"], &[]).code, 1);
    assert_eq!(desk.run(&["config", "check", "--listen", ":5000", "--open"], &[]).code, 0);
    assert_eq!(desk.run(&["config", "check", "--listen", ":5000"], &[("WHARFINGER_OPEN", "true")]).code, 0);
}

#[test]
fn config_check_reports_tls_mistakes() {
    let acme = "[tls.acme]\ndirectory = \"https://acme.example/dir\"\nhosts = [\"a.example\"]\n";
    let ran = Desk::with(acme).run(&["config", "check"], &[]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    for (settings, told) in [
        (format!("{acme}ca = \"root.pem\"\n"), "cannot read root.pem, which tls.acme.ca names"),
        (format!("{acme}external_account = \"a\"\n"), "cannot read a, which tls.acme.external_account names"),
        ("[tls]\ncertificate = \"server.pem\"\n".to_owned(), "cannot read server.pem"),
    ] {
        let desk = Desk::with(&settings);
        for (command, code) in [(&["config", "check"][..], 1), (&["serve", "--listen", "127.0.0.1:0"], 2)] {
            let ran = desk.run(command, &[]);
            assert_eq!(ran.code, code, "{command:?}");
            assert!(ran.errors.contains(told), "{}", ran.errors);
        }
    }
}

#[test]
fn config_file_is_named_or_found() {
    let desk = Desk::with("data = \"usual\"");
    std::fs::write(desk.path().join("other.toml"), "data = \"other\"").unwrap();
    let data = |variables: &[(&str, &str)], flags: &[&str]| desk.in_force("data", variables, flags).1;
    assert_eq!(data(&[], &[]), "wharfinger.toml line 1");
    assert_eq!(data(&[("WHARFINGER_CONFIG", "other.toml")], &[]), "other.toml line 1");
    assert_eq!(
        data(&[("WHARFINGER_CONFIG", "other.toml")], &["--config", "wharfinger.toml"]),
        "wharfinger.toml line 1"
    );
    assert_eq!(data(&[], &["other.toml"]), "other.toml line 1");

    let ran = desk.run(&["serve", "--config", "missing.toml"], &[]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.errors.starts_with("error: cannot read missing.toml, which the command line names: "),
        "{}",
        ran.errors
    );
}

#[test]
fn config_check_prints_json() {
    let desk = Desk::with("[limits]\nheaders = 50\n");
    let ran = desk.run(&["config", "check", "--json"], &[("WHARFINGER_DATA", "/srv")]);
    let report: serde_json::Value = serde_json::from_str(&ran.printed).unwrap();
    assert_eq!(report["file"], "wharfinger.toml");
    let setting = |key: &str| {
        let settings = report["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["key"] == key).unwrap().clone()
    };
    assert_eq!(setting("limits.headers")["value"], 50);
    assert_eq!(setting("limits.headers")["source"], "file");
    assert_eq!(setting("limits.headers")["line"], 2);
    assert_eq!(setting("data")["variable"], "WHARFINGER_DATA");
    assert_eq!(setting("open")["value"], false);
    assert_eq!(setting("open")["source"], "default");

    let ran = Desk::with("lisen = 1").run(&["config", "check", "--json"], &[]);
    assert_eq!((ran.code, ran.errors.as_str()), (1, ""));
    let report: serde_json::Value = serde_json::from_str(&ran.printed).unwrap();
    assert_eq!(report["mistakes"][0]["excerpt"]["line"], 1);
}

#[test]
fn config_import_prints_a_valid_file() {
    let desk = Desk::empty();
    let users = desk.path().join("users");
    std::fs::write(&users, "ann:$2y$05$abcdefghijklmnopqrstuuH3OWxBTxNNvq1Ow3rLrTmyJOQKOH4Ka\n").unwrap();
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {data}}}\n  cache: {{blobdescriptor: redis}}\n\
         http: {{addr: ':5000', secret: hidden}}\nauth: {{htpasswd: {{realm: x, path: {users}}}}}\n",
        data = desk.path().join("data").display(),
        users = users.display()
    );
    std::fs::write(desk.path().join("config.yml"), config).unwrap();
    let ran = desk.run(&["config", "import", "config.yml"], &[("REGISTRY_LOG_LEVEL", "debug")]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    assert!(ran.printed.contains("level = \"debug\"\n"), "{}", ran.printed);
    for line in [
        "taken: http.addr (config.yml line 5): listen\n",
        "taken: log.level (REGISTRY_LOG_LEVEL): log.level\n",
        "no counterpart: storage.cache (config.yml line 4): descriptors are in the database",
        "8 keys: 5 taken, 3 without a counterpart, 0 refused, 0 unknown\n",
    ] {
        assert!(ran.errors.contains(line), "{line}\n{}", ran.errors);
    }
    assert!(!ran.errors.contains("hidden") && !ran.printed.contains("hidden"), "values are not printed");
    let checked = Desk::with(&ran.printed).run(&["config", "check"], &[]);
    assert_eq!(checked.code, 0, "{}\n{}", checked.errors, ran.printed);
    let json = desk.run(&["config", "import", "config.yml", "--json"], &[]).printed;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["toml"].as_str().unwrap().contains("listen"));
    assert_eq!(json["keys"][0]["outcome"], "taken");
}

#[test]
fn config_import_refuses_an_opened_registry() {
    let desk = Desk::empty();
    std::fs::write(desk.path().join("config.yml"), "version: 0.1\nauth: {token: {realm: x}}\n").unwrap();
    let ran = desk.run(&["config", "import", "config.yml"], &[]);
    assert_eq!((ran.code, ran.printed.as_str()), (1, ""));
    assert!(
        ran.errors.contains("refused: auth.token (config.yml line 2): tokens of another server"),
        "{}",
        ran.errors
    );
    assert_eq!(desk.run(&["config", "import"], &[]).code, 2);
    assert_eq!(desk.run(&["config", "import", "missing.yml"], &[]).code, 1);
    std::fs::write(desk.path().join("env"), "# x\nREGISTRY_HTTP_ADDR=127.0.0.1:5001\nOTHER=1\n").unwrap();
    let ran = desk.run(&["config", "import", "--env-file", "env"], &[]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    assert!(ran.printed.contains("listen = \"127.0.0.1:5001\"\n"), "{}", ran.printed);
}

#[test]
fn wrong_command_line_exits_with_2() {
    let desk = Desk::empty();
    assert_eq!(desk.run(&["serve", "--lisen", "x"], &[]).code, 2);
    assert_eq!(desk.run(&[], &[]).code, 2);
    for arguments in [&["--help"][..], &["serve", "--help"], &["config", "check", "--help"]] {
        let ran = desk.run(arguments, &[]);
        assert_eq!(ran.code, 0);
        assert!(ran.printed.contains("Exit codes: 0"), "{}", ran.printed);
        assert!(ran.printed.contains("Examples:"), "{}", ran.printed);
    }
}

#[test]
fn version_completions_and_manual_are_printed() {
    let desk = Desk::empty();
    let version = concat!("wharfinger ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(desk.run(&["--version"], &[]).printed, version);
    assert_eq!(desk.run(&["version"], &[]).printed, version);
    let json = desk.run(&["version", "--json"], &[]).printed;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert!(json["schema_version"].as_u64().unwrap() >= 8, "{json}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(desk.run(&["completions", shell], &[]).printed.contains("serve"), "{shell}");
    }
    assert!(desk.run(&["manual"], &[]).printed.contains(".TH wharfinger"));
    let pages = desk.path().join("man");
    assert_eq!(desk.run(&["manual", "--output", pages.to_str().unwrap()], &[]).code, 0);
    assert!(pages.join("wharfinger-serve.1").exists());
}
