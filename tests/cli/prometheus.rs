//! Debian's Prometheus and its promtool: a scrape, the alert rules and the queries of the dashboard.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::{Registry, WHARFINGER, success};
use crate::daemon::Daemon;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn promtool(arguments: &[&str]) -> Output {
    Command::new("promtool")
        .args(arguments)
        .output()
        .expect("promtool runs; it is in Debian's package prometheus")
}

fn curl(url: &str) -> Option<Value> {
    let asked = Command::new("curl").args(["-sSf", url]).output().unwrap();
    serde_json::from_slice(&asked.stdout).ok()
}

#[test]
fn alert_rules_pass_promtool() {
    let rules = deploy().join("prometheus/alerts.yml");
    let checked = promtool(&["check", "rules", rules.to_str().unwrap()]);
    success("promtool check rules", &checked);
    let configuration = deploy().join("prometheus/prometheus.yml");
    success("promtool check config", &promtool(&["check", "config", configuration.to_str().unwrap()]));
}

#[test]
fn alerts_fire_as_promtool_computes() {
    let scratch = TempDir::new().unwrap();
    let (file, rules) = (scratch.path().join("test.yml"), scratch.path().join("alerts.yml"));
    // promtool compares annotations too, which have the computed values.
    let text_of_rules = fs::read_to_string(deploy().join("prometheus/alerts.yml")).unwrap();
    let mut is_annotation = false;
    let lines = text_of_rules.lines().filter(|line| {
        is_annotation =
            line.starts_with("        annotations:") || (is_annotation && line.starts_with("          "));
        !is_annotation
    });
    fs::write(&rules, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let series = |name: &str, values: &str| format!("      - series: '{name}'\n        values: '{values}'\n");
    let expect = |alert: &str, labels: &str| {
        format!(
            "      - alertname: {alert}\n        eval_time: 2h\n        exp_alerts:\n          - exp_labels: {{{labels}}}\n"
        )
    };
    let mut test =
        format!("rule_files: ['{}']\ntests:\n  - interval: 1m\n    input_series:\n", rules.display());
    test += &series("wharfinger_disk_free_bytes{instance=\"a\"}", "5x120");
    test += &series("wharfinger_disk_size_bytes{instance=\"a\"}", "100x120");
    test += &series("wharfinger_certificate_expiry_timestamp_seconds{instance=\"a\"}", "90000x120");
    test += &series("wharfinger_job_failing{instance=\"a\",kind=\"backup\"}", "1x120");
    test += &series("wharfinger_http_requests_total{instance=\"a\",status=\"5xx\"}", "0+5x120");
    test += &series("wharfinger_http_requests_total{instance=\"a\",status=\"2xx\"}", "0+95x120");
    test += &series("wharfinger_metadata_writer_queue{instance=\"a\"}", "1000x120");
    test += "    alert_rule_test:\n";
    for (alert, severity) in [
        ("WharfingerDiskAlmostFull", "warning"),
        ("WharfingerCertificateExpires", "warning"),
        ("WharfingerErrors", "critical"),
        ("WharfingerWriterBacklog", "warning"),
    ] {
        test += &expect(alert, &format!("severity: {severity}, instance: a"));
    }
    test += &expect("WharfingerJobFailing", "severity: warning, instance: a, kind: backup");
    fs::write(&file, test).unwrap();
    success("promtool test rules", &promtool(&["test", "rules", file.to_str().unwrap()]));
}

#[test]
fn prometheus_scrapes_every_series_of_the_dashboard() {
    let registry = Registry::at_rest();
    let (data, log) = (registry.data(), registry.scratch.path().join("serve.log"));
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        data.to_str().unwrap(),
        "--metrics-listen",
        "127.0.0.1:0",
    ];
    let serve = [&serve[..], &["--tls-self-signed", "localhost"]].concat();
    let server = Daemon::start(WHARFINGER, &serve, &log);
    let metrics = server.wait_for(|log| {
        let line = log.lines().find(|line| line.contains("metrics") && line.contains("127.0.0.1:"))?;
        let rest = line.split("127.0.0.1:").nth(1)?;
        Some(format!("127.0.0.1:{}", rest.split(|byte: char| !byte.is_ascii_digit()).next()?))
    });
    let scratch = TempDir::new().unwrap();
    let configuration = fs::read_to_string(deploy().join("prometheus/prometheus.yml")).unwrap();
    let configuration = configuration.replace("127.0.0.1:9464", &metrics);
    let configuration = format!("global:\n  scrape_interval: 1s\n{configuration}");
    fs::write(scratch.path().join("prometheus.yml"), configuration).unwrap();
    fs::copy(deploy().join("prometheus/alerts.yml"), scratch.path().join("alerts.yml")).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let prometheus = Daemon::start(
        "prometheus",
        &[
            format!("--config.file={}", scratch.path().join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", scratch.path().join("tsdb").display()),
            format!("--web.listen-address={free}"),
        ],
        &scratch.path().join("log"),
    );
    prometheus.wait_for(|_| {
        let up = curl(&format!("http://{free}/api/v1/query?query=up"))?;
        (up["data"]["result"][0]["value"][1] == "1").then_some(())
    });
    // Series of requests begin with the first one.
    registry.says("health");
    let dashboard = fs::read_to_string(deploy().join("grafana/wharfinger.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let rules = fs::read_to_string(deploy().join("prometheus/alerts.yml")).unwrap();
    let queries = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| {
        panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap().to_owned())
    });
    let mut used = BTreeSet::new();
    for query in queries.chain([rules]) {
        let words = query.split(|byte: char| !byte.is_ascii_alphanumeric() && byte != '_');
        let is_series = |word: &&str| word.starts_with("wharfinger_") || word.starts_with("process_");
        used.extend(words.filter(is_series).map(str::to_owned));
    }
    assert!(used.len() > 25, "{used:?}");
    // `wait_for` panics with the log of Prometheus if a series does not come.
    prometheus.wait_for(|_| {
        let names = curl(&format!("http://{free}/api/v1/label/__name__/values"))?;
        let names: BTreeSet<&str> = names["data"].as_array()?.iter().filter_map(Value::as_str).collect();
        used.iter().all(|name| names.contains(name.as_str())).then_some(())
    });
}
