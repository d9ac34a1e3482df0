//! `gc` and `erase` on a data directory, with and without a running server.

use crate::{Registry, pusher};

#[test]
fn gc_frees_deleted_image_with_and_without_server() {
    for registry in [Registry::serving(), Registry::at_rest()] {
        let image = pusher::describe(1);
        let layer = image.blobs[1].to_string();
        let kept = registry.says(&format!("gc --explain {layer}"));
        assert!(kept.contains("tag v1") && kept.contains(&layer), "{kept}");
        registry.says("rm team/app-1:v1");
        assert!(registry.says("gc --dry-run").contains("nothing"), "the grace period is not over");
        let report = registry.json("gc --now");
        assert_eq!(report["collected"]["files"], 0);
        assert_eq!(report["kept"]["deleted"]["manifests"], 1);
        let told = registry.says("gc --now");
        assert!(told.contains("they go after 1 day (gc.grace)"), "{told}");
        let explained = registry.json(&format!("gc --explain team/app-1@{layer}"));
        assert_eq!(explained["chains"][0]["setting"], "gc.grace");
    }
    let registry = Registry::at_rest();
    std::fs::write(registry.scratch.path().join("wharfinger.toml"), "[gc]\ngrace = 0\n").unwrap();
    let options = format!("--config {}", registry.scratch.path().join("wharfinger.toml").display());
    registry.says("rm team/app-1:v1");
    let preview = registry.json(&format!("gc --dry-run {options}"));
    let report = registry.json(&format!("gc --now {options}"));
    assert_eq!(report["collected"]["bytes"], preview["bytes"]);
    assert_eq!(report["collected"]["files"], 3, "a manifest, a config and a layer: {report}");
    assert_eq!(registry.json("du")["unreferenced_bytes"], 0);
}

#[test]
fn erase_removes_an_image_at_once() {
    let registry = Registry::serving();
    let image = pusher::describe(1);
    registry.says("tag team/app-1:v1 copy/app:v1");
    let told = registry.says(&format!("erase team/app-1@{}", image.manifest));
    assert!(told.contains("its tags are gone as well: team/app-1:v1\n"), "{told}");
    assert!(told.contains("other repositories still hold it: copy/app"), "{told}");
    let gone = registry.refuses("undo team/app-1:v1", 1);
    assert!(gone.contains("it was erased on 2") && !gone.contains("grace period"), "{gone}");
    let erased = registry.json(&format!("erase team/app-1@{} --everywhere", image.manifest));
    assert_eq!((&erased["deleted"], &erased["held_by"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(erased["tags"], serde_json::json!(["copy/app:v1"]));
    assert_eq!(registry.json("du")["unreferenced_bytes"], 0, "its layers went with it");
    assert!(registry.refuses("erase team/app-1:v1", 2).contains("names no digest"));
    let unknown = registry.refuses(&format!("erase team/app-1@{}", image.manifest), 1);
    assert!(unknown.contains("there is no content"), "{unknown}");
    assert!(registry.says("audit --action content.erase").contains("content.erase"));
}

#[test]
fn gc_mistakes_are_named() {
    let registry = Registry::at_rest();
    assert!(registry.refuses("gc --explain team/app-1", 2).contains("whole repository"));
    assert!(registry.refuses("gc --explain :", 2).contains("invalid content"));
    registry.refuses("gc --now --dry-run", 2);
    let short = registry.refuses("gc --explain sha256:abc", 2);
    assert!(short.contains("invalid content \"sha256:abc\": wrong length"), "{short}");
    for digest in [format!("sha256:{}", "0".repeat(64)), "sha256:abc".to_owned()] {
        let bare = registry.refuses(&format!("erase {digest}"), 2);
        assert!(bare.contains("names no repository"), "{bare}");
        assert!(bare.contains(&format!("REPOSITORY@{digest}")), "{bare}");
    }
    let unknown = format!("gc --explain sha256:{}", "0".repeat(64));
    assert!(registry.refuses(&unknown, 1).contains("there is no content"));
    assert!(registry.says("gc --explain team/app-1:v1").contains("tag v1"));
}
