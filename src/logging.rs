//! What is logged and where to: standard error, as text for people or as lines of JSON for machines.
//!
//! Nothing secret belongs in an event: no password, token, cookie or `Authorization` header, at any level.

use std::io::{self, IsTerminal as _};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{Log, LogFormat};

/// Starts logging for the whole process; to be called once.
pub fn start(log: &Log) -> Result<(), TryInitError> {
    // The convention of no-color.org: set to anything, it asks for none.
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = io::stderr().is_terminal() && !plain;
    subscriber(log, colours, io::stderr).try_init()
}

/// What writes events as the configuration asks.
fn subscriber<W>(log: &Log, colours: bool, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(&log.level)).with_writer(writer);
    match log.format {
        LogFormat::Text => Box::new(builder.with_ansi(colours).compact().finish()),
        // The fields of an event stand beside its message, and those of its span in `span`: what a collector
        // of logs searches by.
        LogFormat::Json => Box::new(
            builder.json().flatten_event(true).with_current_span(true).with_span_list(false).finish(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str) -> String {
        let written = Written::default();
        let writer = written.clone();
        let log = Log { format, level: level.to_owned() };
        let subscriber = subscriber(&log, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("request", id = "r1").entered();
            tracing::info!(status = 200, "answered\x1b[31m");
            tracing::debug!("a detail");
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_is_a_line_without_control_characters() {
        let text = logged(LogFormat::Text, "info");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("answered") && text.contains("status=200") && text.contains("r1"), "{text}");
        assert!(!text.contains('\x1b'), "{text:?}");
    }

    #[test]
    fn json_is_an_object_a_line() {
        let text = logged(LogFormat::Json, "debug");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["status"], 200);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["span"]["id"], "r1");
    }

    #[test]
    fn the_level_decides() {
        assert_eq!(logged(LogFormat::Text, "off"), "");
    }
}
