//! Clients that read a large blob at 10 KB/s, and then go away in the middle of it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Measure, Outcome, Row, less};
use crate::client::connection::{Body, HTTP1, head};
use crate::client::paced::probe;
use crate::client::stream::Stream;
use crate::instance::Instance;
use crate::measuring::{measure, mib};
use crate::peers::{Ability, Front, Peer};
use crate::sets::{REPOSITORY, Scale, Set, TAG};

pub(super) struct SlowReaders {
    id: &'static str,
    front: Front,
}

pub(super) const PLAIN: SlowReaders = SlowReaders { id: "slow-readers", front: Front::Plain };

/// Through TLS, by an account.
pub(super) const THROUGH_TLS: SlowReaders = SlowReaders { id: "slow-readers-tls", front: Front::Https };

impl Row for SlowReaders {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, _scale: Scale) -> String {
        let through = if self.front == Front::Https { " through TLS" } else { "" };
        format!("{READERS} clients that read 93 MB{through} at 10 KB/s and then vanish")
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("KiB/client"), less("p99 ms of another"), less("threads"), less("files open 2 s after")] }
    }

    fn set(&self) -> Set {
        Set::Image
    }

    fn front(&self) -> Front {
        self.front
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Blob)
    }

    fn runs(&self, _wanted: usize) -> usize {
        1
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        let origin = instance.origin()?;
        let meter = instance.meter()?;
        let blob = format!("/v2/{REPOSITORY}/blobs/{}", instance.world.image.blobs[1].digest());
        let manifest = format!("/v2/{REPOSITORY}/manifests/{TAG}");
        let duration = Duration::from_secs(instance.world.scale.pick(5, 2));
        let before_files = meter.files();
        let ((added, most, threads), usage) = measure(&meter, || {
            let before = meter.anonymous();
            let request = head(&origin, "GET", &blob, Body::Empty);
            let mut readers = Vec::with_capacity(READERS);
            for _ in 0..READERS {
                let mut stream = origin.connect(Duration::from_secs(10), HTTP1)?;
                // Else the kernel takes in megabytes for a client that does not read.
                rustix::net::sockopt::set_socket_recv_buffer_size(stream.socket(), 16 << 10)?;
                stream.write_all(request.as_bytes())?;
                stream.socket().set_nonblocking(true)?;
                readers.push(stream);
            }
            let stop = AtomicBool::new(false);
            let latencies = std::thread::scope(|scope| {
                let probing =
                    scope.spawn(|| probe(&origin, &manifest, Duration::from_millis(2), &stop, 2 * duration));
                let read = read_slowly(&mut readers, duration);
                stop.store(true, Ordering::Relaxed);
                let latencies = probing.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the probe panicked")));
                read.and(latencies)
            });
            let added = meter.anonymous().saturating_sub(before);
            Ok((mib(added) * 1024.0 / READERS as f64, latencies?.quantile(0.99), meter.threads() as f64))
        })?;
        // A client that had read all it was sent leaves by a FIN, which whoever asks no more may send as
        // well. That it is gone the system learns when it next looks whether there is room, within two
        // seconds.
        std::thread::sleep(Duration::from_secs(2));
        let left = meter.files().saturating_sub(before_files);
        Ok(Outcome { values: vec![added, most, threads, left as f64], usage })
    }
}

const READERS: usize = 200;

/// Reads what comes over TCP: what TLS makes of it is all the same to the server.
fn read_slowly(readers: &mut [Stream], duration: Duration) -> Result<()> {
    let mut buffer = [0; 1_000];
    let start = Instant::now();
    while start.elapsed() < duration {
        for reader in &mut *readers {
            match reader.socket().read(&mut buffer) {
                Ok(0) => anyhow::bail!("the server gave up on a slow client"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
