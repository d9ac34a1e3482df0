//! The error codes of the protocol.
//!
//! distribution-spec, "Error Codes".

use std::fmt;

/// A code of the distribution-spec's table of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the specification's own names")]
pub enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
}

impl ErrorCode {
    /// The code as it stands in the JSON of an error.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_are_those_of_the_specification() {
        use ErrorCode::*;
        let table = [
            (BlobUnknown, "BLOB_UNKNOWN"),
            (BlobUploadInvalid, "BLOB_UPLOAD_INVALID"),
            (BlobUploadUnknown, "BLOB_UPLOAD_UNKNOWN"),
            (DigestInvalid, "DIGEST_INVALID"),
            (ManifestBlobUnknown, "MANIFEST_BLOB_UNKNOWN"),
            (ManifestInvalid, "MANIFEST_INVALID"),
            (ManifestUnknown, "MANIFEST_UNKNOWN"),
            (NameInvalid, "NAME_INVALID"),
            (NameUnknown, "NAME_UNKNOWN"),
            (SizeInvalid, "SIZE_INVALID"),
            (Unauthorized, "UNAUTHORIZED"),
            (Denied, "DENIED"),
            (Unsupported, "UNSUPPORTED"),
            (TooManyRequests, "TOOMANYREQUESTS"),
        ];
        for (code, text) in table {
            assert_eq!(code.to_string(), text);
        }
    }
}
