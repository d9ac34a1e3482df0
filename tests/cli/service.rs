//! The server as a service: `health`, `reload`, sockets from a service manager, and notifications to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Daemon, Registry, WHARFINGER, run, success, text};

/// A deadline for a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// A service manager for one service: its listening socket, and the socket for notifications.
struct Manager {
    listener: TcpListener,
    notify: UnixDatagram,
    scratch: TempDir,
}

impl Manager {
    fn new() -> Self {
        let scratch = TempDir::new().unwrap();
        let notify = UnixDatagram::bind(scratch.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(LONG)).unwrap();
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), notify, scratch }
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn config(&self) -> PathBuf {
        self.scratch.path().join("wharfinger.toml")
    }

    fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Starts the server with the listener as descriptor 3. `LISTEN_PID` has to be its own process.
    fn start(&self, variables: &[(&str, &str)]) -> Service {
        if !self.config().exists() {
            fs::write(self.config(), "").unwrap();
        }
        let script = format!("exec 3<&{}; LISTEN_PID=$$ exec \"$@\"", self.listener.as_raw_fd());
        // The listener is open across exec.
        // SAFETY: the descriptor is open, and its flags are no memory.
        assert_ne!(unsafe { libc::fcntl(self.listener.as_raw_fd(), libc::F_SETFD, 0) }, -1);
        let log =
            fs::File::options().append(true).create(true).open(self.scratch.path().join("log")).unwrap();
        let child = Command::new("/bin/bash")
            .args(["-c", &script, "bash", WHARFINGER, "serve", "--data"])
            .arg(self.data())
            .arg("--config")
            .arg(self.config())
            .env("LISTEN_FDS", "1")
            .env("NOTIFY_SOCKET", self.scratch.path().join("notify"))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Service(child)
    }

    /// Waits for a notification that begins with a word. Returns it.
    fn told(&self, word: &str) -> String {
        let begun = Instant::now();
        let mut seen = Vec::new();
        while begun.elapsed() < LONG {
            let mut buffer = [0; 4096];
            let Ok(length) = self.notify.recv(&mut buffer) else { break };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.starts_with(word) {
                return message;
            }
            seen.push(message);
        }
        let log = fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default();
        panic!("the server does not say {word:?}, but {seen:?}:\n{log}");
    }

    fn command(&self, words: &[&str]) -> Output {
        let data = self.data();
        run(&[words, &["--data", data.to_str().unwrap()]].concat(), Path::new("/"))
    }
}

/// A process that ends with the test.
struct Service(Child);

impl Service {
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn ended(&mut self) {
        let begun = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < LONG, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a GET on a new connection and returns the status.
fn get(address: &str, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    reader.read_line(&mut line)?;
    reader.read_to_end(&mut Vec::new())?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other(format!("no status line: {line:?}")))
}

/// In a network of its own, because clients on a loopback address are not warned of. Each mistake is made ten
/// times.
const MISTAKES: &str = r#"
busybox ip link set lo up
busybox ip address add 198.51.100.7/32 dev lo
serve() { "$wharfinger" serve --open --listen "198.51.100.7:$1" --data "$1" ${2:-} >"$1.log" 2>&1 & }
serve 5000
serve 5001 '--tls-self-signed registry.example.com'
export no_proxy=198.51.100.7
curl='curl --silent --output /dev/null --max-time 20'
$curl --fail --retry 60 --retry-delay 1 --retry-connrefused http://198.51.100.7:5000/v2/
$curl --fail --retry 60 --retry-delay 1 --retry-connrefused --insecure https://198.51.100.7:5001/v2/
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    ! $curl --insecure https://198.51.100.7:5000/v2/
    $curl --fail --header 'X-Forwarded-Proto: https' http://198.51.100.7:5000/v2/
    ! $curl https://198.51.100.7:5001/v2/
done
kill %1 %2
wait
"#;

#[test]
fn usual_mistakes_are_logged_once_a_minute() {
    let scratch = TempDir::new().unwrap();
    let made = Command::new("unshare")
        .args(["--net", "bash", "-euc", MISTAKES])
        .env("wharfinger", WHARFINGER)
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    success("mistakes", &made);
    let log = |name: &str| fs::read_to_string(scratch.path().join(name)).unwrap();
    let (plain, secure) = (log("5000.log"), log("5001.log"));
    for (log, mistake, cure) in [
        (&plain, "a client speaks HTTPS to this port", "--tls-self-signed HOST"),
        (&plain, "X-Forwarded-Proto: https comes from an address", "add it to proxy.trusted"),
        (&secure, "a client does not trust the certificate", "wharfinger cert show"),
    ] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(mistake)).collect();
        // A slow machine may take more than a minute.
        assert!((1..=3).contains(&lines.len()), "{mistake}: {log}");
        assert!(lines[0].contains("WARN") && lines[0].contains(cure), "{}", lines[0]);
    }
}

#[test]
fn mistake_in_the_file_stops_no_command_on_a_server() {
    let mut registry = Registry::configured("");
    fs::write(registry.config(), "colour = 1\n[limits]\nheaders = \"many\"\n").unwrap();
    let listed = registry.run("ls");
    assert!(success("ls", &listed).contains("team/app-1"));
    let warned = text(&listed.stderr);
    assert!(warned.contains("2 errors") && warned.contains("wharfinger config check"), "{warned}");
    let health = registry.run("health");
    assert_eq!((success("health", &health), text(&health.stderr)), ("ready\n".into(), String::new()));
    let backup = registry.scratch.path().join("registry.backup");
    registry.says(&format!("backup {}", backup.display()));
    // The mistakes are those that the server finds.
    let told = registry.refuses("reload", 1);
    assert!(told.contains("colour") && told.contains("stay as they were"), "{told}");

    registry.server.take().unwrap().0.stop();
    let told = registry.refuses("ls", 2);
    let place = "wharfinger.toml line 1";
    assert!(told.contains(place) && told.contains("no server runs on"), "{told}");
    registry.says(&format!("restore {} --replace", backup.display()));
    // An unknown key may be a misspelled `data`.
    let told = run(&["health"], registry.scratch.path());
    assert_eq!(told.status.code(), Some(2), "{}", text(&told.stderr));
}

#[test]
fn health_says_whether_a_server_is_ready() {
    let registry = Registry::serving();
    assert_eq!(registry.says("health"), "ready\n");
    assert_eq!(registry.json("health")["ready"], true);
    let by_url = run(&["health", "--server", &registry.url()], Path::new("/"));
    assert_eq!(success("health --server", &by_url), "ready\n");
    let gone = run(&["health", "--server", "http://127.0.0.1:1"], Path::new("/"));
    assert_eq!(gone.status.code(), Some(1));
    let told = text(&gone.stderr);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with("error: not ready: cannot reach http://127.0.0.1:1"), "{told}");
    let (docker, away) = (registry.data().join("docker"), registry.data().join("away"));
    fs::rename(&docker, &away).unwrap();
    assert!(registry.refuses("health", 1).starts_with("error: not ready: "));
    fs::rename(&away, &docker).unwrap();
    let at_rest = Registry::at_rest();
    let told = at_rest.refuses("health", 1);
    assert!(told.starts_with("error: not ready: no server runs on") && told.lines().count() == 1, "{told}");
    let told = at_rest.run("health --json");
    let answer: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((told.status.code(), &answer["ready"]), (Some(1), &false.into()), "{answer}");
}

#[test]
fn health_of_a_stuck_server_says_so() {
    let registry = Registry::serving();
    let pid = registry.server.as_ref().unwrap().0.pid();
    let signal = |name: &str| Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    assert!(signal("-STOP").success());
    let told = registry.refuses("health", 1);
    let by_url = run(&["health", "--server", &registry.url()], Path::new("/"));
    assert!(signal("-CONT").success());
    let directory = registry.data().display().to_string();
    assert!(
        told.starts_with(&format!("error: not ready: the server of {directory} does not answer: ")),
        "{told}"
    );
    assert!(told.contains("in time") && !told.contains("localhost"), "{told}");
    let by_url = text(&by_url.stderr);
    assert!(by_url.contains(&registry.url()) && by_url.contains("did not answer in time"), "{by_url}");
}

#[test]
fn version_names_commit_features_and_schema() {
    let version: Value =
        serde_json::from_str(&success("version", &run(&["version", "--json"], Path::new("/")))).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["schema_version"].as_u64().unwrap() > 0);
    let features = version["features"].as_array().unwrap();
    for feature in ["azure", "metrics", "mirror", "postgres", "s3", "web", "webhooks"] {
        assert!(features.contains(&feature.into()), "{feature}");
    }
    assert!(version.get("commit").is_some());
}

#[test]
fn reload_applies_settings_and_names_the_rest() {
    let manager = Manager::new();
    fs::write(manager.config(), "[limits]\npage_entries = 7\n").unwrap();
    let mut service = manager.start(&[]);
    manager.told("READY=1");
    let first = success("reload", &manager.command(&["reload"]));
    assert_eq!(first, "reloaded; no setting has changed\n");

    let changed = "[limits]\npage_entries = 2\nrequests_per_address = 1\n[audit]\nretention = \"7d\"\n";
    fs::write(manager.config(), changed).unwrap();
    let told: Value =
        serde_json::from_str(&success("reload", &manager.command(&["reload", "--json"]))).unwrap();
    assert_eq!(told["applied"], serde_json::json!(["limits.requests_per_address", "limits.page_entries"]));
    assert_eq!(told["needs_restart"], serde_json::json!(["audit.retention"]));
    // The new limit is in force.
    let refused = (0..15).filter(|_| get(&manager.address(), "/healthz").unwrap() == 429).count();
    assert!(refused > 0);

    fs::write(manager.config(), "[limits]\npage_entries = \"many\"\nheaders = 1\n").unwrap();
    let wrong = manager.command(&["reload"]);
    assert_eq!(wrong.status.code(), Some(1));
    let told = text(&wrong.stderr);
    assert!(told.contains("limits.page_entries") && told.contains("limits.headers"), "{told}");
    service.signal("-TERM");
    service.ended();
    let stopped = manager.command(&["reload"]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(text(&stopped.stderr).contains("no server runs on"), "{}", text(&stopped.stderr));
}

#[test]
fn service_manager_hears_of_each_state() {
    let manager = Manager::new();
    let mut service = manager.start(&[("WATCHDOG_USEC", "200000")]);
    let ready = manager.told("READY=1");
    assert!(ready.contains(&format!("STATUS=serving http://{}", manager.address())), "{ready}");
    assert_eq!(get(&manager.address(), "/healthz").unwrap(), 200, "ready means listening");
    manager.told("WATCHDOG=1");
    service.signal("-HUP");
    let reloading = manager.told("RELOADING=1");
    let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect(&reloading);
    assert!(time.parse::<u64>().unwrap() > 0);
    manager.told("READY=1");
    service.signal("-TERM");
    manager.told("STOPPING=1");
    service.ended();
}

#[test]
fn restart_refuses_no_connection_and_cuts_no_upload() {
    let manager = Manager::new();
    let mut service = manager.start(&[]);
    manager.told("READY=1");
    let address = manager.address();
    let (stop, answered, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered, failed) = (stop.clone(), answered.clone(), failed.clone());
            let address = address.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let counter = if get(&address, "/v2/").is_ok_and(|status| status == 200) {
                        &answered
                    } else {
                        &failed
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let reached = |number: u64| {
        let begun = Instant::now();
        while answered.load(Ordering::Relaxed) < number {
            assert!(begun.elapsed() < LONG, "the clients get no answers");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    for _ in 0..3 {
        reached(answered.load(Ordering::Relaxed) + 20);
        // An upload that ends while the old process stops.
        let mut upload = TcpStream::connect(&address).unwrap();
        upload.set_read_timeout(Some(LONG)).unwrap();
        let digest = "sha256:84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
        let head = format!(
            "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"
        );
        upload.write_all(head.as_bytes()).unwrap();
        upload.write_all(b"01234").unwrap();
        // The server has read the head when it reports the upload.
        let is_receiving = || {
            let metrics = success(
                "metrics",
                &Command::new("curl").args(["-s", &format!("http://{address}/metrics")]).output().unwrap(),
            );
            metrics.contains("wharfinger_blob_transfers{direction=\"upload\"} 1")
        };
        let begun = Instant::now();
        while !is_receiving() {
            assert!(begun.elapsed() < LONG, "the upload does not begin");
        }
        service.signal("-TERM");
        manager.told("STOPPING=1");
        upload.write_all(b"56789").unwrap();
        let mut line = String::new();
        BufReader::new(upload).read_line(&mut line).unwrap();
        assert!(line.contains(" 201 "), "{line}");
        service.ended();
        service = manager.start(&[]);
        manager.told("READY=1");
    }
    reached(answered.load(Ordering::Relaxed) + 20);
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    println!("{} answered", answered.load(Ordering::Relaxed));
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

#[test]
fn open_registry_on_passed_socket_needs_consent() {
    let mut manager = Manager::new();
    manager.listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let mut service = manager.start(&[]);
    service.ended();
    let log = fs::read_to_string(manager.scratch.path().join("log")).unwrap();
    assert!(log.contains("refusing to listen on 0.0.0.0:"), "{log}");
}

#[test]
fn unit_of_systemd_is_hardened() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/wharfinger.service");
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(&unit)
        .output()
        .expect("systemd-analyze runs");
    assert!(judged.status.success(), "{}{}", text(&judged.stdout), text(&judged.stderr));
}

#[test]
fn idle_clients_leave_room_with_few_descriptors() {
    let scratch = TempDir::new().unwrap();
    let (data, log) = (scratch.path().join("data"), scratch.path().join("log"));
    let limited = ["-c", "ulimit -n 64; exec \"$0\" \"$@\"", WHARFINGER];
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let daemon = Daemon::start("/bin/bash", &[&limited[..], &serve[..]].concat(), &log);
    let address = daemon.address().to_string();
    let idle: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(get(&address, "/v2/").unwrap(), 200);
    drop(idle);
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("allows fewer connections than limits.connections"), "{log}");
    assert!(log.matches("cannot accept a connection").count() < 3, "{log}");
}

#[test]
fn serve_warns_of_a_small_address_space() {
    let scratch = TempDir::new().unwrap();
    let (data, log) = (scratch.path().join("data"), scratch.path().join("log"));
    let words =
        ["--as=1000000000", WHARFINGER, "serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let server = Daemon::start("/usr/bin/prlimit", &words, &log);
    server.address();
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("limit of address space") && log.contains("limit=1000000000"), "{log}");
}
