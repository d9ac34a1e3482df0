//! A terminal: a working directory, an empty home, and command lines as a user types them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The longest time for one command, in seconds.
const LIMIT: &str = "120";

/// A temporary working directory that is also the home directory, so that clients find no settings and no
/// credentials of the user that runs the tests.
pub(crate) struct Terminal {
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
    logs: Vec<PathBuf>,
    /// The prefix of each command.
    before: Vec<String>,
}

impl Terminal {
    /// Opens a terminal in an empty directory.
    pub(crate) fn open() -> Terminal {
        let directory = TempDir::new().expect("a temporary directory");
        let home = directory.path().to_owned();
        let at = |name: &str| home.join(name).display().to_string();
        // Podman and buildah keep their images here as well. Plain copies leave no mounts behind.
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            at("containers/storage"),
            at("containers/run")
        );
        fs::write(home.join("storage.conf"), storage).expect("a settings file can be written");
        let containers = format!(
            "[engine]\nevents_logger = \"none\"\ncgroup_manager = \"cgroupfs\"\ntmp_dir = \"{}\"\n",
            at("containers/tmp")
        );
        fs::write(home.join("containers.conf"), containers).expect("a settings file can be written");
        // The credentials of podman, buildah and skopeo.
        fs::create_dir(home.join("runtime")).expect("a directory can be made");
        let environment = vec![
            ("PATH", path().to_owned()),
            ("HOME", home.display().to_string()),
            ("LANG", "C.UTF-8".to_owned()),
            ("XDG_RUNTIME_DIR", at("runtime")),
            ("CONTAINERS_STORAGE_CONF", at("storage.conf")),
            ("CONTAINERS_CONF", at("containers.conf")),
        ];
        Terminal { directory, environment, logs: Vec::new(), before: Vec::new() }
    }

    /// Sets an environment variable for the following commands.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    /// Sets a prefix for the following commands, such as `nsenter …`.
    pub(crate) fn enters(&mut self, before: Vec<String>) {
        self.before = before;
    }

    /// Adds a log whose end is shown when a command fails.
    pub(crate) fn shows_when_failing(&mut self, log: PathBuf) {
        self.logs.push(log);
    }

    /// Returns the path of a file or directory of this terminal.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the content of a file of this terminal.
    pub(crate) fn reads(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs a line and returns its output without the last line break. A failure fails the test.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> String {
        let answer = self.types(line);
        assert!(answer.status == Some(0), "{}", self.told(line, &answer));
        answer.stdout.trim_end().to_owned()
    }

    /// Runs a line that must fail, and returns its error output.
    #[track_caller]
    pub(crate) fn fails(&self, line: &str) -> String {
        let answer = self.types(line);
        assert!(matches!(answer.status, Some(1..=123)), "should have failed: {}", self.told(line, &answer));
        answer.stderr
    }

    /// Runs a line that prints JSON, and returns it.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let answer = self.run(line);
        serde_json::from_str(&answer)
            .unwrap_or_else(|error| panic!("$ {line}\n{answer}\nis not JSON: {error}"))
    }

    fn types(&self, line: &str) -> Answer {
        let output = Command::new("/usr/bin/timeout")
            .args(["--kill-after=5", LIMIT])
            .args(&self.before)
            .args(["/bin/sh", "-euc", &format!("cd {}\n{line}", self.directory.path().display())])
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("/usr/bin/timeout starts");
        let answer = Answer {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        // The shell exits with 127 if it cannot find a command.
        assert!(
            answer.status != Some(127),
            "{}a tool is missing: run scripts/test or scripts/test-more-clients, which install it",
            answer.stderr
        );
        answer
    }

    fn told(&self, line: &str, answer: &Answer) -> String {
        let how = match answer.status {
            Some(124 | 137) => format!("took longer than {LIMIT} seconds"),
            Some(status) => format!("ended with status {status}"),
            None => "was killed".to_owned(),
        };
        let mut told = format!("$ {line}\n{}{}\n{how}\n", answer.stdout, answer.stderr);
        for log in &self.logs {
            let text = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            told.push_str(&format!("--- the last lines of {}:\n", log.display()));
            told.push_str(&lines[lines.len().saturating_sub(15)..].join("\n"));
        }
        told
    }

    /// Returns the path of a program. A missing program fails the test with its name.
    pub(crate) fn which(program: &str) -> String {
        path()
            .split(':')
            .map(|directory| Path::new(directory).join(program))
            .find(|candidate| candidate.is_file())
            .unwrap_or_else(|| panic!("{program} is missing: run scripts/test, which installs it"))
            .display()
            .to_string()
    }
}

struct Answer {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Returns the search path: the pinned tools, then Debian's programs, then the caller's path. So a newer
/// `docker` in a local directory does not replace Debian's.
fn path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| format!("{home}/.cache")))
            .unwrap_or_else(|| "/root/.cache".to_owned());
        let lists = [
            include_str!("../../../scripts/tools.txt"),
            include_str!("../../../scripts/more-tools.txt"),
            include_str!("../../../scripts/package-tools.txt"),
        ];
        let pinned =
            lists.into_iter().flat_map(str::lines).filter(|line| !line.starts_with('#')).filter_map(|line| {
                let mut words = line.split_whitespace();
                Some(format!("{cache}/wharfinger/tools/{}-{}", words.next()?, words.next()?))
            });
        pinned
            .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(str::to_owned))
            .chain(variable("PATH"))
            .collect::<Vec<_>>()
            .join(":")
    })
}
