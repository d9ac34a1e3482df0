//! The server process: its log, signals and shutdown. A full, stuck or closed output affects no request.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, PipeReader, Read as _, Write as _, pipe};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::WHARFINGER;

/// A deadline that a busy machine keeps, shorter than the server's timeouts for slow requests.
const LONG: Duration = Duration::from_secs(25);

/// `wharfinger serve` with the outputs of the test.
struct Server {
    child: Child,
    address: String,
    scratch: TempDir,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Server {
    fn start(stderr: impl Into<Stdio>, settings: &str) -> Self {
        let scratch = TempDir::new().unwrap();
        let config = scratch.path().join("wharfinger.toml");
        fs::write(&config, settings).unwrap();
        let mut child = Command::new(WHARFINGER)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(scratch.path().join("data"))
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        stdout.read_line(&mut greeting).unwrap();
        let address = greeting.trim().rsplit('/').next().unwrap().to_owned();
        Self { child, address, scratch, stdout: Some(stdout) }
    }

    /// Starts the server with its log in a file.
    fn logging(settings: &str) -> (Self, PathBuf) {
        let log = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
        (Self::start(File::create(&log).unwrap(), settings), log)
    }

    fn config(&self) -> PathBuf {
        self.scratch.path().join("wharfinger.toml")
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end of the process.
    fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < LONG, "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(mut self) {
        self.signal("-TERM");
        assert!(self.ended().success());
    }

    fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    fn get(&self, path: &str, times: usize) {
        let mut client = self.connect();
        for _ in 0..times {
            client.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
            client.status();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection with hand-written requests.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Reads an answer: its status, and its `location` if present.
    fn answer(&mut self) -> (u16, Option<String>) {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).expect("a status line").parse().unwrap();
        let (mut length, mut location) = (0, None);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            match name {
                "content-length" => length = value.parse().unwrap(),
                "location" => location = Some(value.to_owned()),
                _ => {}
            }
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
        (status, location)
    }

    fn status(&mut self) -> u16 {
        self.answer().0
    }
}

fn wait_for_log(log: &Path, text: &str) {
    let begun = Instant::now();
    loop {
        let written = fs::read_to_string(log).unwrap();
        if written.contains(text) {
            return;
        }
        assert!(begun.elapsed() < LONG, "the log does not say {text:?}:\n{written}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns a server whose log pipe is not read, and the reader.
fn stuck() -> (Server, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    (Server::start(writer, ""), reader)
}

#[test]
fn log_on_full_disk_fails_no_request() {
    let server = Server::start(File::options().write(true).open("/dev/full").unwrap(), "");
    server.get("/v2/", 50);
    server.get("/nowhere", 50);
    server.stop();
}

#[test]
fn closed_log_pipe_fails_no_request() {
    let (reader, writer) = pipe().unwrap();
    let mut server = Server::start(writer, "[audit]\nlog = true\npulls = true\n");
    drop(reader);
    // The reader of the audit log goes away as well.
    server.stdout = None;
    server.get("/v2/", 50);
    server.get("/v2/app/manifests/1", 50);
    let mut client = server.connect();
    for _ in 0..20 {
        client.send("POST /v2/app/blobs/uploads/ HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(client.status(), 202);
    }
    server.stop();
}

#[test]
fn stuck_log_pipe_delays_no_request() {
    let (server, reader) = stuck();
    server.get("/v2/", 1500);
    server.stop();
    drop(reader);
}

#[test]
fn log_reports_lost_lines_after_recovery() {
    let (server, reader) = stuck();
    // More than the queue holds.
    let path = format!("/v2/{}", "x".repeat(16_000));
    server.get(&path, 600);
    let mut lines = BufReader::new(reader).lines();
    let report =
        lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("did not take these many lines")));
    let report = report.unwrap().unwrap();
    assert!(report.contains("lines="), "{report}");
    std::thread::spawn(move || lines.for_each(drop));
    server.stop();
}

#[test]
fn hangup_reloads_and_cuts_no_upload() {
    let settings = "[log]\nlevel = \"info\"\n";
    let (server, log) = Server::logging(settings);
    let mut client = server.connect();
    client.send("POST /v2/app/blobs/uploads/ HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    let (status, location) = client.answer();
    assert_eq!(status, 202);
    let location = location.unwrap();
    client.send(&format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234"));

    fs::write(
        server.config(),
        "[log]\nlevel = \"debug\"\n[limits]\npage_entries = 50\n[audit]\nretention = \"7d\"\n",
    )
    .unwrap();
    server.signal("-HUP");
    wait_for_log(&log, "setting=\"audit.retention\"");
    let written = fs::read_to_string(&log).unwrap();
    assert!(written.contains("needs a restart") && written.contains("setting=\"log.level\""), "{written}");
    assert!(written.contains("setting=\"limits.page_entries\""), "{written}");

    fs::write(server.config(), "[log]\nlevel = 7\n").unwrap();
    server.signal("-HUP");
    wait_for_log(&log, "the settings stay as they were");

    client.send("56789");
    assert_eq!(client.status(), 202);
    server.stop();
    fs::remove_file(log).unwrap();
}

#[test]
fn hangup_reloads_htpasswd() {
    let users = tempfile::NamedTempFile::new().unwrap();
    let line = |name: &str| format!("{name}:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");
    fs::write(users.path(), line("ann")).unwrap();
    let (server, log) = Server::logging(&format!("[auth]\nhtpasswd = \"{}\"\n", users.path().display()));
    let sign_in = |header: &str| {
        let mut client = server.connect();
        client.send(&format!("GET /v2/ HTTP/1.1\r\nhost: x\r\nauthorization: Basic {header}\r\n\r\n"));
        client.status()
    };
    // ann:secret and bob:secret.
    assert_eq!((sign_in("YW5uOnNlY3JldA=="), sign_in("Ym9iOnNlY3JldA==")), (200, 401));
    // Of names that differ only in case, the first line gets the account.
    fs::write(users.path(), line("bob") + &line("BOB")).unwrap();
    server.signal("-HUP");
    wait_for_log(&log, "reload: read the configuration again");
    let begun = Instant::now();
    while sign_in("Ym9iOnNlY3JldA==") != 200 {
        assert!(begun.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(200));
    }
    // ann:secret and BOB:secret.
    assert_eq!((sign_in("YW5uOnNlY3JldA=="), sign_in("Qk9COnNlY3JldA==")), (401, 401));
    wait_for_log(&log, "accounts have their names in other case: BOB");
    server.stop();
    fs::remove_file(log).unwrap();
}

#[test]
fn stop_logs_the_requests_it_cut_off() {
    let (mut server, log) = Server::logging("[limits]\nshutdown_timeout = \"1s\"\n");
    let mut client = server.connect();
    client.send("POST /v2/app/blobs/uploads/ HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    let location = client.answer().1.unwrap();
    client.send(&format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234"));
    let silent = server.connect();
    server.signal("-TERM");
    wait_for_log(&log, "stopping:");
    // The port is free for a successor during the wait for the request.
    let begun = Instant::now();
    while TcpStream::connect(&server.address).is_ok() {
        assert!(begun.elapsed() < LONG);
    }
    assert!(server.ended().success());
    let written = fs::read_to_string(&log).unwrap();
    assert!(written.contains("cut off: still running 1 s after the stop"), "{written}");
    drop(silent);
    fs::remove_file(log).unwrap();
}

#[test]
fn stopping_server_ends_requests_and_takes_no_more() {
    let (mut server, log) = Server::logging("open = true\n");
    let mut upload = server.connect();
    upload.send(
        "POST /v2/app/blobs/uploads/?digest=sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 \
         HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
    );
    assert_eq!(upload.status(), 100, "its body is awaited");
    upload.send("hel");
    server.signal("-TERM");
    wait_for_log(&log, "stopping: no more connections are taken");
    let begun = Instant::now();
    while TcpStream::connect(&server.address).is_ok() {
        assert!(begun.elapsed() < LONG, "connections are still taken");
        assert!(server.child.try_wait().unwrap().is_none(), "the upload was cut off");
    }
    upload.send("lo");
    assert_eq!(upload.status(), 201);
    assert!(server.ended().success());
}
