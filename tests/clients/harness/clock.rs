//! A clock that is ahead: a library that is loaded with LD_PRELOAD, the one of the tests of durability.

use super::Terminal;

/// Returns the begin of a command whose clock is ahead.
pub(crate) fn hours_later(terminal: &Terminal, hours: u64) -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/durability/faults.c");
    terminal.run(&format!("cc -shared -fPIC -O1 -o clock.so {source} -ldl"));
    // No faults, and the seconds.
    let control = [0, 0, 0, hours * 60 * 60].map(u64::to_ne_bytes).concat();
    std::fs::write(terminal.path("clock"), control).expect("a file can be written");
    let [library, control] = ["clock.so", "clock"].map(|name| terminal.path(name).display().to_string());
    format!("env LD_PRELOAD={library} FAULTS_CONTROL={control} FAULTS_BELOW=/nowhere")
}
