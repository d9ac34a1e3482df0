//! Clients that read a large blob at 10 KB/s, and then go away in the middle of it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Measure, Outcome, Row, less};
use crate::client::connection::{Body, connect, head};
use crate::client::paced::probe;
use crate::measuring::{measure, mib};
use crate::peers::{Ability, Peer};
use crate::sets::{REPOSITORY, Scale, Set, TAG};
use crate::site::Site;

pub(super) struct SlowReaders;

impl Row for SlowReaders {
    fn id(&self) -> &'static str {
        "slow-readers"
    }

    fn title(&self, _scale: Scale) -> String {
        format!("{READERS} clients that read 93 MB at 10 KB/s and then vanish")
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("KiB/client"), less("p99 ms of another"), less("threads"), less("files open 1 s after")] }
    }

    fn set(&self) -> Set {
        Set::Image
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Blob)
    }

    fn runs(&self, _wanted: usize) -> usize {
        1
    }

    fn run(&self, site: &mut Site<'_>) -> Result<Outcome> {
        let address = site.address()?;
        let meter = site.meter()?;
        let blob = format!("/v2/{REPOSITORY}/blobs/{}", site.world.image.blobs[1].digest());
        let manifest = format!("/v2/{REPOSITORY}/manifests/{TAG}");
        let duration = Duration::from_secs(site.world.scale.pick(5, 2));
        let before_files = meter.files();
        let ((added, most, threads), usage) = measure(&meter, || {
            let before = meter.anonymous();
            let request = head(address, "GET", &blob, Body::Empty);
            let mut readers = Vec::with_capacity(READERS);
            for _ in 0..READERS {
                let mut stream = connect(address, Duration::from_secs(10))?;
                // Else the kernel takes in megabytes for a client that does not read.
                rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 16 << 10)?;
                stream.write_all(request.as_bytes())?;
                stream.set_nonblocking(true)?;
                readers.push(stream);
            }
            let stop = AtomicBool::new(false);
            let latencies = std::thread::scope(|scope| {
                let probing =
                    scope.spawn(|| probe(address, &manifest, Duration::from_millis(2), &stop, 2 * duration));
                let read = read_slowly(&mut readers, duration);
                stop.store(true, Ordering::Relaxed);
                let latencies = probing.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the probe panicked")));
                read.and(latencies)
            });
            let added = meter.anonymous().saturating_sub(before);
            Ok((mib(added) * 1024.0 / READERS as f64, latencies?.quantile(0.99), meter.threads() as f64))
        })?;
        std::thread::sleep(Duration::from_secs(1));
        let left = meter.files().saturating_sub(before_files);
        Ok(Outcome { values: vec![added, most, threads, left as f64], usage })
    }
}

const READERS: usize = 200;

fn read_slowly(readers: &mut [TcpStream], duration: Duration) -> Result<()> {
    let mut buffer = [0; 1_000];
    let start = Instant::now();
    while start.elapsed() < duration {
        for reader in &mut *readers {
            match reader.read(&mut buffer) {
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
