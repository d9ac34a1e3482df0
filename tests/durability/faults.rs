//! Fault injection into the tested server, by a library that is loaded with LD_PRELOAD (`faults.c`).

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file that this process and the library share.
pub(crate) struct Control(fs::File, PathBuf);

impl Control {
    pub(crate) fn new(path: PathBuf, seed: u64) -> Self {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(32).unwrap();
        file.write_all_at(&seed.to_ne_bytes(), 8).unwrap();
        Self(file, path)
    }

    pub(crate) fn set_rate(&self, one_in: u64) {
        self.0.write_all_at(&one_in.to_ne_bytes(), 0).unwrap();
    }

    /// Sets the time of day off by some seconds.
    pub(crate) fn set_clock(&self, seconds: i64) {
        self.0.write_all_at(&seconds.to_ne_bytes(), 24).unwrap();
    }

    pub(crate) fn faults(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, 16).unwrap();
        u64::from_ne_bytes(bytes)
    }
}

fn library(scratch: &Path) -> PathBuf {
    let library = scratch.join("faults.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/durability/faults.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o", library.to_str().unwrap(), source, "-ldl"])
        .status()
        .expect("cc compiles the library of faults; Rust needs it too");
    assert!(built.success());
    library
}

/// The number in a variable of the environment.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// The command of a server with the library, whose writes below `data` fail as `control` says.
pub(crate) fn preloaded(scratch: &Path, control: &Control, data: &Path) -> [String; 5] {
    [
        "env".to_owned(),
        format!("LD_PRELOAD={}", library(scratch).display()),
        format!("FAULTS_CONTROL={}", control.1.display()),
        format!("FAULTS_BELOW={}", data.display()),
        env!("CARGO_BIN_EXE_wharfinger").to_owned(),
    ]
}
