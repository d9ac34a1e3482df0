//! Signatures of Standard Webhooks: HMAC-SHA256 of id, timestamp and body.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The prefix of a secret in Base64.
const PREFIX: &str = "whsec_";

/// Returns the header `webhook-signature`: one signature for each secret.
pub(crate) fn sign(secrets: &[String], id: &str, timestamp: u64, body: &[u8]) -> Option<String> {
    let signatures: Vec<String> = secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .map(|secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key(secret));
            let mut context = hmac::Context::with_key(&key);
            context.update(format!("{id}.{timestamp}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        })
        .collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

/// The bytes of a secret. A text without the prefix is the key itself.
fn key(secret: &str) -> Vec<u8> {
    let encoded = secret.strip_prefix(PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok());
    encoded.unwrap_or_else(|| secret.as_bytes().to_vec())
}

/// A new secret.
pub(crate) fn generate() -> Option<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(format!("{PREFIX}{}", STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn signature_is_that_of_the_reference() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
        let body = br#"{"test": 2432232314}"#;
        let signed =
            sign(std::slice::from_ref(&secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = sign(&[secret, "plain".into()], "msg", 1, body).unwrap();
        assert_eq!(both.split(' ').count(), 2);
        assert_eq!(sign(&[], "msg", 1, body), None);
        assert!(generate().unwrap().starts_with(PREFIX));
    }
}
