//! The log on standard error, as text for people or as JSON lines for machines.
//!
//! Events must not contain secrets at any level: no password, token, cookie or `Authorization` header.

use std::io::{self, IsTerminal as _};
use std::panic;
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry, reload};

use crate::config::{Log, LogFormat};
use crate::output_queue;
use crate::traces::TraceLayer;

/// Sets another filter.
type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

static SET_LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// Starts logging for the whole process, and the export of traces if there is one. Call it once.
pub fn start(log: &Log, traces: Option<TraceLayer>) -> Result<(), TryInitError> {
    // The convention of no-color.org: any value disables colours.
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = io::stderr().is_terminal() && !plain;
    let (subscriber, set_level) = subscriber(log, colours, output_queue::stderr, traces);
    subscriber.try_init()?;
    // A second start has failed above.
    let _ = SET_LEVEL.set(set_level);
    // The default hook blocks if standard error is stuck.
    panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(panic = %panic, %backtrace, "a task panicked, which is a bug of wharfinger");
        // A panic of the main thread ends the process.
        if std::thread::current().name() == Some("main") {
            output_queue::flush();
        }
    }));
    Ok(())
}

/// Changes the level of a running log.
pub(crate) fn set_level(level: &str) {
    if let Some(set_level) = SET_LEVEL.get() {
        set_level(level);
    }
}

/// Returns the subscriber, and a function that changes its level.
fn subscriber<W>(
    log: &Log,
    colours: bool,
    writer: W,
    traces: Option<TraceLayer>,
) -> (impl Subscriber + Send + Sync, SetLevel)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, level) = reload::Layer::new(filter_of(&log.level));
    // The queue handles a failing output. `log_internal_errors` would report it by a macro that panics.
    let layer = fmt::layer().with_writer(writer).with_ansi(colours).log_internal_errors(false);
    let layer = match log.format {
        LogFormat::Text => layer.compact().boxed(),
        // Fields of an event are beside its message, and those of its span in `span`, where log collectors
        // search.
        LogFormat::Json => {
            layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    let subscriber = registry().with(traces).with(layer.with_filter(filter));
    (subscriber, Box::new(move |text| drop(level.reload(filter_of(text)))))
}

/// The filter of a level. The client of object stores logs each retry at `info`; the last error is logged
/// anyway.
fn filter_of(level: &str) -> EnvFilter {
    match level {
        "info" => EnvFilter::new("info,object_store::client::retry=warn"),
        level => EnvFilter::new(level),
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
        let (subscriber, _) = subscriber(&log, false, move || writer.clone(), None);
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
    fn level_filters_events() {
        assert_eq!(logged(LogFormat::Text, "off"), "");
    }

    #[test]
    fn level_changes_while_the_log_is_in_use() {
        let written = Written::default();
        let writer = written.clone();
        let log = Log { format: LogFormat::Text, level: "info".to_owned() };
        let (subscriber, set_level) = subscriber(&log, false, move || writer.clone(), None);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("before");
            set_level("debug");
            tracing::debug!("after");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("before") && text.contains("after"), "{text}");
    }
}
