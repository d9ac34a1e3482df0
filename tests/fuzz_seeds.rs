//! Runs the check of every fuzz target with its seeds and its corpus, without cargo-fuzz.

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
mod checks;

/// The files of a directory of inputs.
fn inputs(directory: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let inputs: Vec<_> =
        entries.map(|entry| fs::read(entry.expect("an entry").path()).expect("a seed")).collect();
    assert!(!inputs.is_empty(), "{} is empty", directory.display());
    inputs
}

#[test]
fn fuzz_targets_accept_seeds_and_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (target, check) in checks::TARGETS {
        check(b"");
        for kind in ["seeds", "corpus"] {
            inputs(&fuzz.join(kind).join(target)).iter().for_each(|input| check(input));
        }
    }
}

#[test]
fn fuzz_targets_are_all_in_the_manifest() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let files = fs::read_dir(fuzz.join("targets")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let expected: Vec<_> = checks::TARGETS.iter().map(|(target, _)| format!("{target}.rs")).collect();
    assert_eq!(files, expected);
    for (target, _) in checks::TARGETS {
        assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
    }
}
