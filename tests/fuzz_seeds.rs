//! Runs the check of every fuzz target with its seeds, without cargo-fuzz.

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
mod checks;

#[test]
fn fuzz_targets_accept_their_seeds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (target, check) in checks::TARGETS {
        check(b"");
        let seeds = fs::read_dir(fuzz.join("seeds").join(target)).expect(target);
        let inputs: Vec<_> = seeds.map(|seed| fs::read(seed.unwrap().path()).unwrap()).collect();
        assert!(!inputs.is_empty(), "{target} has no seeds");
        inputs.iter().for_each(|input| check(input));
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
