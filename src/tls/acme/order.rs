//! Orders of certificates (RFC 8555 section 7.4).

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, AuthorizedIdentifier, CertificateIdentifier, ChallengeType, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::challenge::{Challenges, Published};
use super::failure::Failure;
use crate::config::AcmeChallenge;
use crate::host::Host;
use crate::tls::self_signed::subject_alternative_names;

/// How often and how long an order is polled. The authority may ask for longer pauses.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(3 * 60));

/// Orders certificates for the configured hosts.
pub(super) struct Orders {
    pub(super) hosts: Vec<Host>,
    pub(super) challenge: AcmeChallenge,
    pub(super) challenges: Challenges,
}

impl Orders {
    /// Orders a certificate and returns its chain and its key as PEM. `replaces` names the certificate that
    /// it renews, for an authority with ARI (RFC 9773 section 5).
    pub(super) async fn order(
        &self,
        account: &Account,
        replaces: Option<CertificateIdentifier<'static>>,
    ) -> Result<String, Failure> {
        let identifiers: Vec<Identifier> = self.hosts.iter().map(identifier).collect();
        let mut new = NewOrder::new(&identifiers);
        if let Some(replaces) = replaces {
            new = new.replaces(replaces);
        }
        let mut order = account.new_order(&new).await?;
        let published = self.publish_challenges(&mut order).await?;
        let status = order.poll_ready(&POLLING).await;
        drop(published);
        match status {
            Ok(OrderStatus::Ready) => {}
            Err(error @ (instant_acme::Error::Other(_) | instant_acme::Error::Timeout(_))) => {
                return Err(error.into());
            }
            Ok(_) => {
                let failed = self.failed_validation(&mut order).await?;
                return Err(failed.unwrap_or_else(|| Failure::Local("the order became invalid".to_owned())));
            }
            Err(error) => {
                return Err(self.failed_validation(&mut order).await?.unwrap_or_else(|| error.into()));
            }
        }
        // Each certificate has a new key.
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = subject_alternative_names(&self.hosts)?;
        params.distinguished_name = DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&POLLING).await?;
        Ok(format!("{}\n{}", chain.trim_end(), key.serialize_pem()))
    }

    /// Publishes the response to a challenge for each host without a valid authorization, and starts its
    /// validation.
    async fn publish_challenges(&self, order: &mut Order) -> Result<Vec<Published<'_>>, Failure> {
        let mut published = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            // A status other than these two shows in the status of the order.
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let offered =
                authorization.challenges.iter().map(|challenge| challenge_type_name(&challenge.r#type));
            let offered = offered.collect::<Vec<_>>().join(", ");
            let identifier = authorization.identifier().to_string();
            let (kind, name) = challenge_type(self.challenge);
            let Some(mut challenge) = authorization.challenge(kind) else {
                return Err(Failure::NoChallenge { host: identifier, challenge: name, offered });
            };
            let key_authorization = challenge.key_authorization();
            published.push(match self.challenge {
                AcmeChallenge::TlsAlpn01 => {
                    self.challenges.publish_tls(&host(challenge.identifier())?, &key_authorization)?
                }
                AcmeChallenge::Http01 => self.challenges.publish_http(&challenge.token, &key_authorization),
            });
            challenge.set_ready().await?;
        }
        Ok(published)
    }

    /// Finds the host whose validation failed, if there is one.
    async fn failed_validation(&self, order: &mut Order) -> Result<Option<Failure>, Failure> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let state = authorization.refresh().await?;
            if state.status != AuthorizationStatus::Invalid {
                continue;
            }
            let mut challenges = state.challenges.iter();
            return Ok(Some(Failure::ValidationFailed {
                host: state.identifier().to_string(),
                reason: challenges.find_map(|challenge| challenge.error.clone()),
                advice: validation_advice(self.challenge),
            }));
        }
        Ok(None)
    }
}

fn identifier(host: &Host) -> Identifier {
    match host {
        Host::Name(name) => Identifier::Dns(name.clone()),
        Host::Address(address) => Identifier::Ip(*address),
    }
}

fn host(identifier: &AuthorizedIdentifier<'_>) -> Result<Host, Failure> {
    let text = identifier.to_string();
    text.parse().map_err(|_| Failure::Unreachable(format!("it names {text}, which was not requested")))
}

/// The type of a challenge in the protocol, and its name in the settings.
fn challenge_type(challenge: AcmeChallenge) -> (ChallengeType, &'static str) {
    match challenge {
        AcmeChallenge::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
        AcmeChallenge::Http01 => (ChallengeType::Http01, "http-01"),
    }
}

/// The connection that the authority makes to validate a host.
fn validation_advice(challenge: AcmeChallenge) -> &'static str {
    match challenge {
        AcmeChallenge::TlsAlpn01 => {
            "it connects to port 443 of that host, which must lead to this server's port for HTTPS without a proxy \
             that ends TLS"
        }
        AcmeChallenge::Http01 => {
            "it sends plain HTTP to port 80 of that host, which must lead to this server's address in tls.redirect"
        }
    }
}

/// The name of a challenge type in IANA's registry.
fn challenge_type_name(challenge: &ChallengeType) -> &str {
    match challenge {
        ChallengeType::Http01 => "http-01",
        ChallengeType::Dns01 => "dns-01",
        ChallengeType::TlsAlpn01 => "tls-alpn-01",
        ChallengeType::Unknown(name) => name,
        _ => "another one",
    }
}
