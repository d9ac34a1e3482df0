//! kill -9 between the commit of a push and the delivery of its event: no event is lost, and those of a
//! repository arrive in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::client;
use crate::pusher;
use crate::receiver::{Receiver, free_address};
use crate::server::Server;

/// Rounds in the ordinary run. `WHARFINGER_KILLS=300 cargo test --test durability webhooks` makes a long one.
const KILLS: u64 = 8;
/// The acknowledged pushes before each kill.
const PUSHES: u64 = 40;
const PUSHERS: u64 = 4;

/// The identity of a push: repository and digest.
type Push = (String, String);

/// Returns the pushes that arrived, and checks the order of each repository. A delivery that was under way at
/// a kill arrives again, with the same id.
fn arrived(receiver: &Receiver) -> BTreeSet<Push> {
    let (mut pushes, mut last): (BTreeSet<Push>, BTreeMap<String, i64>) = Default::default();
    let mut by_id: BTreeMap<i64, Push> = BTreeMap::new();
    for received in receiver.received() {
        let id: i64 = received.header("webhook-id").rsplit('-').next().unwrap().parse().unwrap();
        let event = received.json();
        let text = |name: &str| event["data"][name].as_str().unwrap().to_owned();
        let push = (text("repository"), text("digest"));
        if let Some(before) = by_id.insert(id, push.clone()) {
            assert_eq!(before, push, "two events have the id {id}");
            continue;
        }
        let before = last.insert(push.0.clone(), id);
        assert!(before.is_none_or(|before| before < id), "{id} of {} came after {before:?}", push.0);
        pushes.insert(push);
    }
    pushes
}

#[test]
fn no_event_is_lost_by_kills() {
    let kills =
        std::env::var("WHARFINGER_KILLS").map_or(KILLS, |n| n.parse().expect("WHARFINGER_KILLS is a number"));
    let scratch = TempDir::new().unwrap();
    let (data, settings) = (scratch.path().join("data"), scratch.path().join("wharfinger.toml"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = runtime.block_on(free_address());
    let receiver = runtime.block_on(Receiver::start(address, |_| 204));
    let webhook =
        format!("[[webhook]]\nurl = \"http://{address}/\"\nevents = [\"push\"]\nallow_private = true\n");
    std::fs::write(&settings, webhook).unwrap();
    let arguments = ["--config", settings.to_str().unwrap()];
    let (http, next) = (client(), Arc::new(AtomicU64::new(1)));
    let mut acknowledged: BTreeSet<Push> = BTreeSet::new();
    for round in 1..=kills {
        let server = Server::start(&data, &arguments);
        let (done, url) = (Arc::new(AtomicU64::new(0)), server.url());
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|_| {
                let (http, next, done, url) = (http.clone(), next.clone(), done.clone(), url.clone());
                runtime.spawn(async move {
                    let mut pushed = Vec::new();
                    while let Ok(image) =
                        pusher::push_image(&http, &url, next.fetch_add(1, Ordering::SeqCst)).await
                    {
                        pushed.push((image.repository, image.manifest.to_string()));
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                    pushed
                })
            })
            .collect();
        // The last commits are milliseconds old then, and deliveries gather for longer.
        let deadline = Instant::now() + Duration::from_secs(120);
        while done.load(Ordering::SeqCst) < PUSHES {
            assert!(Instant::now() < deadline, "{done:?} pushes in round {round}");
            std::thread::sleep(Duration::from_millis(1));
        }
        server.kill();
        for pusher in pushers {
            acknowledged.extend(runtime.block_on(pusher).unwrap());
        }
    }
    let before = arrived(&receiver).len();
    let server = Server::start(&data, &arguments);
    let deadline = Instant::now() + Duration::from_secs(120);
    while !arrived(&receiver).is_superset(&acknowledged) {
        let missing = acknowledged.difference(&arrived(&receiver)).count();
        assert!(Instant::now() < deadline, "{missing} of {} events are lost", acknowledged.len());
        std::thread::sleep(Duration::from_millis(20));
    }
    server.stop();
    let (events, deliveries) = (arrived(&receiver).len(), receiver.count());
    assert!(before < events, "no kill came before a delivery");
    println!(
        "{kills} kills, {} pushes: all events arrived, {} of them after the last kill, {} twice",
        acknowledged.len(),
        events - before,
        deliveries - events,
    );
}
