//! A server process that lives no longer than the test.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs its arguments as a child, prints the child's pid, and ends it when standard input closes. The kernel
/// closes that pipe however the tests end (a panic, Ctrl-C, a kill), so nothing is left running.
const LEASH: &str = r#"
trap '' INT
"$@" >"$LOG" 2>&1 &
pid=$!
echo $pid
read -r _
kill -TERM $pid 2>/dev/null
( exec >/dev/null; sleep 15; kill -KILL $pid 2>/dev/null ) &
timer=$!
wait $pid
kill $timer
[ -z "$SCRATCH" ] || rm -rf "$SCRATCH"
"#;

/// The time in which a daemon must become ready.
const START: Duration = Duration::from_secs(30);

/// A running server process with its log in a file.
pub(crate) struct Daemon {
    name: String,
    pid: u32,
    leash: Child,
    /// The pipe whose closing ends the process.
    hold: Option<ChildStdin>,
    log: PathBuf,
}

impl Daemon {
    /// Starts `program` with its output in the file `log`.
    pub(crate) fn start<S: AsRef<std::ffi::OsStr>>(program: &str, arguments: &[S], log: &Path) -> Daemon {
        Daemon::start_in(program, arguments, log, None)
    }

    /// Starts `program`, and removes `scratch` after its end.
    pub(crate) fn start_in<S: AsRef<std::ffi::OsStr>>(
        program: &str,
        arguments: &[S],
        log: &Path,
        scratch: Option<&Path>,
    ) -> Daemon {
        File::create(log).expect("the log of a daemon can be written");
        let mut leash = Command::new("/bin/sh");
        // Settings of a registry of this machine do not apply to the tested one.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"WHARFINGER_") {
                leash.env_remove(name);
            }
        }
        let mut leash = leash
            .args(["-c", LEASH, "leash", program])
            .args(arguments)
            .env("LOG", log)
            .env("SCRATCH", scratch.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("/bin/sh starts");
        let hold = leash.stdin.take();
        let mut pid = String::new();
        BufReader::new(leash.stdout.take().expect("standard output is piped"))
            .read_line(&mut pid)
            .expect("the leash tells the pid");
        Daemon {
            name: program.rsplit('/').next().unwrap_or(program).to_owned(),
            pid: pid.trim().parse().expect("a pid is a number"),
            leash,
            hold,
            log: log.to_owned(),
        }
    }

    /// Polls until `ready` returns something. Panics with the log if the process ends or the time is up.
    pub(crate) fn wait_for<T>(&self, mut ready: impl FnMut(&str) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ready(&self.log()) {
                return answer;
            }
            assert!(self.is_alive(), "{} ended at once:\n{}", self.name, self.log());
            assert!(begun.elapsed() < START, "{} isn't ready after {START:?}:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the loopback address that the process prints, as `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        self.wait_for(|log| {
            // The log also names databases that it uses.
            let addresses = log.match_indices("127.0.0.1:").filter(|(at, _)| !is_of_database(&log[..*at]));
            addresses.map(|(at, found)| &log[at + found.len()..]).find_map(|rest| {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                port.parse::<u16>().ok().filter(|port| *port != 0).map(|port| format!("127.0.0.1:{port}"))
            })
        })
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn is_alive(&self) -> bool {
        // The name in the second field may hold spaces. The state follows its closing parenthesis.
        fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
    }

    /// The pid. For `tests/durability`, which shares this file.
    #[allow(dead_code, reason = "not every suite that has this file needs it")]
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills the process with SIGKILL and waits for its end.
    #[allow(dead_code, reason = "not every suite that has this file needs it")]
    pub(crate) fn kill(&mut self) {
        let killed = Command::new("kill").args(["-KILL", &self.pid.to_string()]).status();
        assert!(killed.is_ok_and(|killed| killed.success()), "{} could not be killed", self.name);
        self.stop();
    }

    /// Ends the process with SIGTERM and waits for its end.
    pub(crate) fn stop(&mut self) {
        self.hold = None;
        // The leash sends SIGKILL after a while, so this wait is bounded.
        self.leash.wait().expect("the leash can be waited for");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the last lines of {}:", self.name);
            for line in &lines[lines.len().saturating_sub(60)..] {
                eprintln!("{line}");
            }
        }
    }
}

/// Whether a log goes on with an address in the URL of a database.
fn is_of_database(log: &str) -> bool {
    log.rsplit(|char: char| char.is_whitespace()).next().is_some_and(|word| word.contains("postgres://"))
}
