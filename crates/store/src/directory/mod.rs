//! The data directory: its layout.
//!
//! ```text
//! <data>/docker/registry/v2/blobs/          content, in distribution's layout
//! <data>/docker/registry/v2/repositories/   the derived view, in distribution's layout
//! <data>/docker/registry/v2/.wharfinger     the id of the database that the content belongs to
//! <data>/docker/registry/v2/.wharfinger-accounts   exists if there have ever been accounts
//! <data>/wharfinger/metadata.db             the metadata
//! <data>/wharfinger/metadata.db.mark        the number of the last commit
//! <data>/wharfinger/metadata                the place of the metadata in PostgreSQL, instead of both
//! <data>/wharfinger/move                    the new places, between the end of a move and the next start
//! <data>/wharfinger/metadata.db.moved       the database that a move has left
//! <data>/wharfinger/adopting                exists while a bucket of distribution is adopted
//! <data>/wharfinger/accounts                exists if there have ever been accounts
//! <data>/wharfinger/uploads/                uploads in progress
//! <data>/wharfinger/blobs                   exists if the blobs are in a bucket: its URL
//! <data>/wharfinger/quarantine/             damaged content that a repair moved aside
//! <data>/wharfinger/lock                    locked by the process that uses the directory
//! <data>/wharfinger/control.sock            takes commands for a running server
//! <data>/wharfinger/gateway.key             exists if a gateway keeps its accounts here; the content is elsewhere
//! ```
//!
//! A volume that was mounted at distribution's `v2` directory holds `blobs/` and `repositories/` itself. Such
//! a directory is used as it is, with `wharfinger/` beside the two. This also applies if the volume is
//! mounted at `<data>/docker/registry/v2`, as in containers of `registry:2`: then `wharfinger/` must survive
//! with the volume.
//!
//! - `layout`: the paths.
//! - `lock`: keeps a second server out.
//! - `content`: the identity of the content, which finds moved and foreign content.
//! - `socket`: the control socket within the length limit of the kernel.
//! - `gateway_key`: marks the directory of a gateway.
//! - `access`: explains a failed access to the operator.

mod access;
mod content;
mod gateway_key;
mod layout;
mod lock;
mod socket;
#[cfg(test)]
mod tests;

pub use self::content::Content;
pub use self::layout::Directory;
pub use self::lock::Lock;
pub use self::socket::Socket;
