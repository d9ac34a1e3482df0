//! The order of a push, read off its system calls: content synced, named, the name synced, the
//! transaction synced, and only then the answer.

use std::collections::HashMap;
use std::fs;

use oci::Digest;
use reqwest::Client;
use tempfile::TempDir;

use crate::pusher;
use crate::server::Server;

/// A system call: where it began and ended among all of them, and what strace shows of it.
struct Call {
    begun: usize,
    ended: usize,
    text: String,
}

#[test]
fn a_push_is_answered_after_content_name_and_transaction_are_synced() {
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let trace = scratch.path().join("trace");
    let calls = "trace=fsync,fdatasync,rename,renameat,renameat2,write,writev,sendto,sendmsg";
    let strace = ["strace", "-f", "-y", "-s", "40", "-e", calls, "-o", trace.to_str().unwrap()];
    let server = Server::start_as(&[&strace[..], &[env!("CARGO_BIN_EXE_wharfinger")]].concat(), &data, &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let image = runtime.block_on(pusher::push_image(&Client::new(), &server.url(), 5)).unwrap();
    server.stop_traced(&data);
    let calls = parse(&fs::read_to_string(&trace).unwrap());
    // Each 201 answers, in this order, the two blobs and the manifest.
    let answers: Vec<&Call> = calls.iter().filter(|call| call.text.contains("HTTP/1.1 201")).collect();
    assert_eq!(answers.len(), 3, "three answers are 201 Created");
    for (digest, answer) in image.blobs.iter().chain([&image.manifest]).zip(answers) {
        let before = |call: &&Call| call.ended < answer.begun;
        let calls: Vec<&Call> = calls.iter().filter(before).collect();
        is_synced_in_order(digest, &calls);
    }
}

/// Finds the steps of storing `digest` among the calls that ended before its answer was begun.
fn is_synced_in_order(digest: &Digest, calls: &[&Call]) {
    let hex = digest.hex();
    let directory = format!("blobs/sha256/{}/{hex}", &hex[..2]);
    let find = |what: &str, after: usize, test: &dyn Fn(&str) -> bool| {
        let found = calls.iter().find(|call| call.begun > after && test(&call.text));
        found.unwrap_or_else(|| panic!("{what} of {digest} is missing before its answer")).ended
    };
    let is_sync = |text: &str, path: &str| {
        (text.starts_with("fsync(") || text.starts_with("fdatasync("))
            && text.contains(path)
            && text.ends_with("= 0")
    };
    let renamed = find("the rename", 0, &|text| text.starts_with("rename") && text.contains(&directory));
    let rename = calls.iter().find(|call| call.ended == renamed).unwrap();
    let upload =
        rename.text.split('"').nth(1).expect("the rename's source").rsplit('/').next().unwrap().to_owned();
    let content = calls.iter().rfind(|call| is_sync(&call.text, &upload) && call.ended < rename.begun);
    assert!(content.is_some(), "the content of {digest} is not synced before it is named: {}", rename.text);
    let named = find("the sync of its directory", renamed, &|text| is_sync(text, &format!("{directory}>")));
    let above = format!("blobs/sha256/{}>", &hex[..2]);
    let listed = find("the sync of the directory above", renamed, &|text| is_sync(text, &above));
    find("the sync of the transaction", named.max(listed), &|text| is_sync(text, "metadata.db-wal"));
}

/// Reads what `strace -f` wrote, where a call that others interrupt stands on two lines.
fn parse(trace: &str) -> Vec<Call> {
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((pid, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(begin) = text.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, (number, begin.to_owned()));
        } else if text.starts_with("<... ") {
            if let Some((begun, begin)) = unfinished.remove(pid) {
                let end = text.split_once("resumed>").map_or("", |(_, end)| end);
                calls.push(Call { begun, ended: number, text: format!("{begin}{end}") });
            }
        } else {
            calls.push(Call { begun: number, ended: number, text: text.to_owned() });
        }
    }
    calls
}
