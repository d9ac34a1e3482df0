//! The records that operations return. The store defines them; HTTP and commands use them from here.

pub use store::StoreError;
pub use store::adopt::Report;
pub use store::blobs::BlobStream;
pub use store::directory::Socket;
pub use store::metadata::{
    AccountRecord, AuditEntry, AuditFilter, AuditOutcome, AuditRecord, CounterDrift, DeletedManifest,
    Deletion, GrantRecord, Hit, ManifestDetails, MemberRecord, ReferrerRecord, RepositoryRecord,
    RepositoryUsage, Restored, SearchPage, Source, TagRecord, TeamRecord, TokenRecord, Usage, ViewProblem,
};
