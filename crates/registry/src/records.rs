//! The records that operations return. The store defines them; HTTP and commands use them from here.

pub use store::adopt::Report;
pub use store::blobs::BlobStream;
pub use store::directory::Socket;
pub use store::metadata::{
    AccountRecord, AuditEntry, AuditFilter, AuditOutcome, AuditRecord, ChangeKind, ContentRefusal,
    CounterDrift, DeletedManifest, Deletion, DeliveryCounts, DeliveryRecord, DeliveryState, ErasureMark,
    GrantRecord, HistoryEntry, Hit, ManifestDetails, ManifestRecord, MemberRecord, NewChange, OwnerUsage,
    QuotaExcess, QuotaUsage, ReferrerRecord, RepositoryRecord, RepositoryUsage, Restored, RunTag, SearchPage,
    Source, TagDeletion, TagRecord, TagRefusal, TeamRecord, TokenRecord, UndoOutcome, UndoTarget, Usage,
    ViewProblem,
};
pub use store::{Space, StoreError};
