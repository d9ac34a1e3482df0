//! PostgreSQL for tests: a server of the test process, or the one of `WHARFINGER_TEST_METADATA`.

#![allow(dead_code, reason = "each test program uses a part")]

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// `postgres` for the server of the process, or the URL of a database for which the role of the tests may
/// create schemas, such as `postgres://postgres@127.0.0.1/postgres`. If it is set, tests that can use any
/// database use this one.
const VARIABLE: &str = "WHARFINGER_TEST_METADATA";

const DEADLINE: Duration = Duration::from_secs(60);

/// Makes the certificate of a server, and that of its authority in `ca.pem`.
const CERTIFICATES: &str = "set -e
new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=tests -days 2
openssl req $new -keyout server.key -out server.csr -subj /CN=server
echo subjectAltName=IP:127.0.0.1 >names
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names";

/// The server of this process. It ends with it.
pub(crate) static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(unused_port()));

/// The URL of the database with the schema of a directory, if the tests are to use PostgreSQL. Each directory
/// has a schema of its own.
pub(crate) fn chosen(directory: &Path) -> Option<String> {
    let base = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty())?;
    let base = if base == "postgres" { SERVER.url() } else { base };
    Some(with_schema(&base, &schema_of(directory)))
}

/// The same schema for a directory at each call.
fn schema_of(directory: &Path) -> String {
    let path = directory.to_str().expect("a path of text");
    path.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect()
}

/// Creates a schema unless it exists, and returns the URL of a database in which it is the only one.
pub(crate) fn with_schema(base: &str, schema: &str) -> String {
    let sql = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
    psql(base, &sql);
    let separator = if base.contains('?') { '&' } else { '?' };
    format!("{base}{separator}options=-c%20search_path%3D%22{schema}%22")
}

/// Runs statements, and returns the rows as text.
pub(crate) fn psql(url: &str, sql: &str) -> String {
    let output = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            url,
            "--command",
            sql,
        ])
        .stdin(Stdio::null())
        .output()
        .expect("psql of postgresql-client");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}: {errors}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// A server that the tests start and stop.
pub(crate) struct Server {
    port: u16,
    directory: PathBuf,
}

impl Server {
    /// Creates a cluster and starts its server on a port.
    pub(crate) fn start(port: u16) -> Self {
        let directory = Self::directory();
        let mut create = as_postgres("initdb");
        create.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "-D",
        ]);
        let created = create.arg(directory.join("data")).output().expect("initdb of postgresql");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        let server = Self { port, directory };
        server.launch();
        server
    }

    /// Creates a directory of the user postgres with a certificate.
    fn directory() -> PathBuf {
        let directory = tempfile::tempdir().expect("a directory").keep();
        std::os::unix::fs::chown(&directory, Some(user().0), Some(user().1)).expect("the tests run as root");
        let mut certify = as_postgres("sh");
        let certified = certify.args(["-c", CERTIFICATES]).current_dir(&directory).output().expect("openssl");
        assert!(certified.status.success(), "{}", String::from_utf8_lossy(&certified.stderr));
        directory
    }

    /// Starts a standby with streaming replication. From then on, a commit waits until the standby has it.
    pub(crate) fn with_standby(&self, port: u16) -> Self {
        let standby = Self { port, directory: Self::directory() };
        let mut copy = as_postgres("pg_basebackup");
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname", &self.url(), "-D"]);
        let copied =
            copy.arg(standby.directory.join("data")).current_dir("/").output().expect("pg_basebackup");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        standby.launch();
        psql(&self.url(), "ALTER SYSTEM SET synchronous_standby_names = '*'");
        psql(&self.url(), "SELECT pg_reload_conf()");
        let deadline = Instant::now() + DEADLINE;
        while psql(&self.url(), "SELECT sync_state FROM pg_stat_replication") != "sync" {
            assert!(Instant::now() < deadline, "the standby does not replicate");
            std::thread::yield_now();
        }
        standby
    }

    /// Makes the standby the server that takes writes.
    pub(crate) fn promote(&self) {
        let mut promote = as_postgres("pg_ctl");
        promote.arg("-D").arg(self.directory.join("data")).args(["-w", "promote"]).current_dir("/");
        let promoted = promote.output().expect("pg_ctl");
        assert!(promoted.status.success(), "{}", String::from_utf8_lossy(&promoted.stderr));
    }

    /// The URL of the database on this server or the other one, whichever takes writes.
    pub(crate) fn url_with(&self, other: &Self) -> String {
        let (port, other) = (self.port, other.port);
        format!(
            "postgres://postgres@127.0.0.1:{port},127.0.0.1:{other}/postgres?target_session_attrs=read-write"
        )
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts the server of the cluster. It ends with this process, which also removes the cluster.
    pub(crate) fn launch(&self) {
        let directory = self.directory.to_str().expect("a path of text");
        let mut command = as_postgres("sh");
        let script = "\"$0\" -D \"$1/data\" -p \"$2\" -k \"$1\" -c listen_addresses=127.0.0.1 -c fsync=off \
                      -c max_connections=500 -c ssl=on -c ssl_cert_file=\"$1/server.pem\" -c ssl_key_file=\"$1/server.key\" & \
                      trap 'kill -QUIT $!; wait; rm -rf \"$1\"' TERM; wait";
        let program = program("postgres");
        command.args([
            "-c",
            script,
            program.to_str().expect("a path of text"),
            directory,
            &self.port.to_string(),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        // SAFETY: prctl is safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
                Ok(())
            });
        }
        let (sender, started) = std::sync::mpsc::channel();
        // The kernel sends the signal when the thread ends that has started the server. This one never does.
        std::thread::spawn(move || {
            sender.send(command.spawn().map(drop)).expect("the test waits");
            loop {
                std::thread::park();
            }
        });
        started.recv().expect("an answer").expect("the server starts");
        self.await_answer();
    }

    fn await_answer(&self) {
        let deadline = Instant::now() + DEADLINE;
        let port = self.port.to_string();
        let is_ready = || {
            let mut ask = Command::new(program("pg_isready"));
            ask.args(["--host=127.0.0.1", "--quiet", "--port", &port]).status().expect("pg_isready").success()
        };
        while !is_ready() {
            assert!(Instant::now() < deadline, "no PostgreSQL on port {port}");
            std::thread::yield_now();
        }
    }

    /// The URL of its first database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The same through its socket.
    pub(crate) fn socket_url(&self) -> String {
        let directory = self.directory.to_str().expect("a path of text").replace('/', "%2F");
        format!("postgres://postgres@{directory}:{}/postgres", self.port)
    }

    /// The certificate of the authority that has signed the server's.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Stops and starts the server.
    pub(crate) fn restart(&self, mode: &str) {
        self.stop(mode);
        self.launch();
    }

    /// Stops the server. `mode` is one of pg_ctl: `fast` ends the connections, `immediate` is a crash.
    pub(crate) fn stop(&self, mode: &str) {
        let mut stop = as_postgres("pg_ctl");
        stop.arg("-D").arg(self.directory.join("data")).args(["-m", mode, "-w", "stop"]).current_dir("/");
        let stopped = stop.output().expect("pg_ctl");
        assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    }
}

/// A port that nothing listens on.
pub(crate) fn unused_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// A command as the user postgres: the server refuses to run as root.
fn as_postgres(name: &str) -> Command {
    let (user, group) = user();
    let mut command = Command::new(program(name));
    command.uid(user).gid(group);
    command
}

/// The user and the group of Debian's package.
fn user() -> (u32, u32) {
    let passwd = std::fs::read_to_string("/etc/passwd").expect("the users");
    let line = passwd.lines().find(|line| line.starts_with("postgres:")).expect("the user of postgresql");
    let mut fields = line.split(':').skip(2).map(|id| id.parse().expect("an id"));
    (fields.next().expect("a user"), fields.next().expect("a group"))
}

/// The newest program of this name that Debian's packages have.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("the package postgresql");
    let programs = versions.map(|version| version.expect("a version").path().join("bin").join(name));
    programs.filter(|path| path.exists()).max().unwrap_or_else(|| name.into())
}

/// The same database with settings of its sessions, such as `lock_timeout=200`.
pub(crate) fn with_settings(url: &str, settings: &[&str]) -> String {
    settings.iter().fold(url.to_owned(), |url, setting| format!("{url}%20-c%20{setting}"))
}

/// The process of the session that may write the schema of a URL.
pub(crate) fn writer(url: &str) -> i32 {
    let sql = "SELECT l.pid FROM pg_locks l JOIN pg_namespace n ON n.oid = l.objid
               WHERE l.locktype = 'advisory' AND n.nspname = CURRENT_SCHEMA()";
    psql(url, sql).parse().expect("one process")
}

/// A process of PostgreSQL that is stopped until the end of this value.
pub(crate) struct Suspended(rustix::process::Pid);

impl Suspended {
    pub(crate) fn new(pid: i32) -> Self {
        let pid = rustix::process::Pid::from_raw(pid).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("it is stopped");
        Self(pid)
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        rustix::process::kill_process(self.0, rustix::process::Signal::CONT).expect("it goes on");
    }
}
