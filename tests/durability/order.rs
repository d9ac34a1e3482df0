//! The order of system calls in a push. Large content: sync the file, rename it, sync the directories, sync
//! the transaction, answer. Small content is in the transaction. Its file comes later, and its links after
//! the sync of that file.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use oci::Digest;
use store::Metadata;
use tempfile::TempDir;

use crate::client::client;
use crate::pusher;
use crate::server::Server;

/// A system call: its begin and end in the sequence, and strace's text.
struct Call {
    begun: usize,
    ended: usize,
    text: String,
}

#[test]
fn push_is_answered_after_every_sync() {
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let trace = scratch.path().join("trace");
    let calls = "trace=fsync,fdatasync,syncfs,rename,renameat,renameat2,pwrite64,write,writev,sendto,sendmsg";
    let strace = ["strace", "-f", "-y", "-s", "40", "-e", calls, "-o", trace.to_str().unwrap()];
    let server = Server::start_as(&[&strace[..], &[env!("CARGO_BIN_EXE_wharfinger")]].concat(), &data, &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Images with large and small layers, in each way to push.
    let images = [5, 6, 7, 10]
        .map(|seed| runtime.block_on(pusher::push_image(&client(), &server.url(), seed)).unwrap());
    server.stop_traced(&data);
    let calls = parse(&fs::read_to_string(&trace).unwrap());
    // The 201 answers come in this order: two blobs of an image, then its manifest.
    let answers: Vec<&Call> = calls.iter().filter(|call| call.text.contains("HTTP/1.1 201")).collect();
    assert_eq!(answers.len(), 12, "twelve answers are 201 Created");
    let is_small = [[true, false, true], [true; 3], [true; 3], [true, false, true]];
    let contents = images.iter().flat_map(|image| image.blobs.iter().chain([&image.manifest]));
    let mut answered = 0;
    for ((digest, answer), is_small) in contents.zip(answers).zip(is_small.into_iter().flatten()) {
        let between = |call: &&Call| call.begun > answered && call.ended < answer.begun;
        let between: Vec<&Call> = calls.iter().filter(between).collect();
        is_synced_in_order(digest, is_small, &between);
        is_linked_when_synced(digest, is_small, &calls);
        answered = answer.ended;
    }
}

/// A process may be killed after it wrote links and before it synced them. The next one acknowledges these
/// changes, so it must sync the links, although it finds them right.
#[tokio::test]
async fn start_syncs_links_of_a_killed_process() {
    let scratch = TempDir::new().unwrap();
    let [data, twin] = ["data", "twin"].map(|name| scratch.path().join(name));
    let has_pending = async || {
        let metadata = Metadata::open(&data.join("wharfinger/metadata.db")).unwrap();
        let pending = metadata.view_changes(0, 1).await.unwrap();
        metadata.close().await;
        !pending.is_empty()
    };
    let mut seed = 0;
    loop {
        let server = Server::start(&data, &[]);
        pusher::push_image(&client(), &server.url(), seed).await.unwrap();
        server.kill();
        // The view is written a second later, and the kill may have been late.
        if has_pending().await {
            break;
        }
        seed += 1;
        assert!(seed < 20, "the view is always written before the kill");
    }
    copy(&data, &twin);
    Server::start(&twin, &[]).stop();
    copy(&twin.join("docker/registry/v2/repositories"), &data.join("docker/registry/v2/repositories"));

    let trace = scratch.path().join("trace");
    let strace = ["strace", "-f", "-y", "-e", "trace=syncfs,rename", "-o", trace.to_str().unwrap()];
    let server = Server::start_as(&[&strace[..], &[env!("CARGO_BIN_EXE_wharfinger")]].concat(), &data, &[]);
    server.stop_traced(&data);
    assert!(!has_pending().await);
    let calls = parse(&fs::read_to_string(&trace).unwrap());
    let is_sync = |call: &&Call| {
        call.text.starts_with("syncfs(") && call.text.contains("/repositories>") && call.text.ends_with("= 0")
    };
    assert!(calls.iter().any(|call| is_sync(&call)), "the links are acknowledged without a sync");
    let is_link = |call: &&Call| call.text.starts_with("rename") && call.text.contains("/repositories/");
    assert!(!calls.iter().any(|call| is_link(&call)), "the links were there already");
}

/// Copies a directory onto another one.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Finds the steps of storing `digest` between the previous answer and its own.
fn is_synced_in_order(digest: &Digest, is_small: bool, calls: &[&Call]) {
    let hex = digest.hex();
    let directory = format!("blobs/sha256/{}/{hex}", &hex[..2]);
    let find = |what: &str, after: usize, test: &dyn Fn(&str) -> bool| {
        let found = calls.iter().find(|call| call.begun > after && test(&call.text));
        found.unwrap_or_else(|| panic!("{what} of {digest} is missing before its answer")).ended
    };
    let mut named = 0;
    if !is_small {
        let renamed = find("the rename", 0, &|text| is_naming(text, digest));
        let rename = calls.iter().find(|call| call.ended == renamed).unwrap();
        let source = rename.text.split('"').nth(1).expect("the rename's source");
        let upload = source.rsplit('/').next().unwrap();
        let content = calls.iter().rfind(|call| is_sync(&call.text, upload) && call.ended < rename.begun);
        assert!(
            content.is_some(),
            "the content of {digest} is not synced before it is named: {}",
            rename.text
        );
        let own = format!("{directory}>");
        named = find("the sync of its directory", renamed, &|text| is_sync(text, &own));
        let above = format!("blobs/sha256/{}>", &hex[..2]);
        named = named.max(find("the sync of the directory above", renamed, &|text| is_sync(text, &above)));
    }
    let logged = find("the transaction", named, &|text| {
        text.starts_with("pwrite64(")
            && text.split(',').next().is_some_and(|file| file.contains("metadata.db-wal"))
    });
    find("the sync of the transaction", logged, &|text| is_sync(text, "metadata.db-wal"));
}

/// Returns whether the call gives content its final name.
fn is_naming(text: &str, digest: &Digest) -> bool {
    let hex = digest.hex();
    text.starts_with("rename") && text.contains(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]))
}

fn is_sync(text: &str, path: &str) -> bool {
    (text.starts_with("fsync(") || text.starts_with("fdatasync("))
        && text.contains(path)
        && text.ends_with("= 0")
}

/// Checks that links name content on the disk. Large content was synced before, small content is synced by a
/// `syncfs`.
fn is_linked_when_synced(digest: &Digest, is_small: bool, calls: &[Call]) {
    let named = calls.iter().find(|call| is_naming(&call.text, digest)).expect("a file of its own").ended;
    let link = format!("sha256/{}/link", digest.hex());
    let is_link = |call: &&Call| call.text.starts_with("rename") && call.text.contains(&link);
    let linked = calls.iter().find(is_link).expect("a link in the view");
    let is_sync = |call: &Call| call.text.starts_with("syncfs(") && call.text.ends_with("= 0");
    let synced = calls.iter().any(|call| is_sync(call) && call.begun > named && call.ended < linked.begun);
    assert!(synced || !is_small, "{digest} is linked before its file is synced");
}

/// Parses the output of `strace -f`, in which an interrupted call takes two lines.
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
