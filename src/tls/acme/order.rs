//! One order, from its beginning to the certificate (RFC 8555 section 7.4).

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, AuthorizedIdentifier, CertificateIdentifier, ChallengeType, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::Acme;
use super::challenge::Ready;
use super::failure::Failure;
use crate::config::AcmeChallenge;
use crate::host::Host;
use crate::tls::self_signed::alternatives;

/// How often the authority is asked how far it is, and for how long. It says itself when it wants to be asked less.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(3 * 60));

impl Acme {
    /// Orders a certificate: the certificate, those who vouch for it, and its key, as PEM. `replaces` is the one in
    /// whose place it comes, for an authority that knows what that means (RFC 9773 section 5).
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
        let answers = self.prove(&mut order).await?;
        let proven = order.poll_ready(&PATIENCE).await;
        drop(answers);
        match proven {
            Ok(OrderStatus::Ready) => {}
            Err(error @ (instant_acme::Error::Other(_) | instant_acme::Error::Timeout(_))) => {
                return Err(error.into());
            }
            Ok(_) => {
                let unproven = self.unproven(&mut order).await?;
                return Err(
                    unproven.unwrap_or_else(|| Failure::Here("the order is no longer good".to_owned()))
                );
            }
            Err(error) => return Err(self.unproven(&mut order).await?.unwrap_or_else(|| error.into())),
        }
        // A key of its own for each certificate.
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = alternatives(&self.hosts)?;
        params.distinguished_name = DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        Ok(format!("{}\n{}", chain.trim_end(), key.serialize_pem()))
    }

    /// Gets the answers ready and has the authority look, for each host that it does not know to lead here yet.
    async fn prove(&self, order: &mut Order) -> Result<Vec<Ready<'_>>, Failure> {
        let mut answers = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                // Looking at the order will say what is wrong with it.
                _ => continue,
            }
            let offered = authorization.challenges.iter().map(|challenge| name_of(&challenge.r#type));
            let offered = offered.collect::<Vec<_>>().join(", ");
            let identifier = authorization.identifier().to_string();
            let (kind, name) = kind_of(self.challenge);
            let Some(mut challenge) = authorization.challenge(kind) else {
                return Err(Failure::NoChallenge { host: identifier, challenge: name, offered });
            };
            let proof = challenge.key_authorization();
            answers.push(match self.challenge {
                AcmeChallenge::TlsAlpn01 => {
                    self.challenges.ready_for_tls(&host(challenge.identifier())?, &proof)?
                }
                AcmeChallenge::Http01 => self.challenges.ready_for_http(&challenge.token, &proof),
            });
            challenge.set_ready().await?;
        }
        Ok(answers)
    }

    /// The host for which the authority did not find what it looked for, if there is one.
    async fn unproven(&self, order: &mut Order) -> Result<Option<Failure>, Failure> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let state = authorization.refresh().await?;
            if state.status != AuthorizationStatus::Invalid {
                continue;
            }
            let mut challenges = state.challenges.iter();
            return Ok(Some(Failure::Unproven {
                host: state.identifier().to_string(),
                reason: challenges.find_map(|challenge| challenge.error.clone()),
                way: way(self.challenge),
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
    text.parse().map_err(|_| Failure::Unreachable(format!("it speaks of {text}, which nobody asked for")))
}

/// A challenge as the protocol has it, and as it is called.
fn kind_of(challenge: AcmeChallenge) -> (ChallengeType, &'static str) {
    match challenge {
        AcmeChallenge::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
        AcmeChallenge::Http01 => (ChallengeType::Http01, "http-01"),
    }
}

/// How an authority comes here.
fn way(challenge: AcmeChallenge) -> &'static str {
    match challenge {
        AcmeChallenge::TlsAlpn01 => {
            "it connects to port 443 of that host, which must lead to where this server listens, with nothing between \
             that speaks TLS itself"
        }
        AcmeChallenge::Http01 => {
            "it asks on port 80 of that host, in plain HTTP, which must lead to where this server listens for \
             tls.redirect"
        }
    }
}

/// How the registry of challenges writes them.
fn name_of(challenge: &ChallengeType) -> &str {
    match challenge {
        ChallengeType::Http01 => "http-01",
        ChallengeType::Dns01 => "dns-01",
        ChallengeType::TlsAlpn01 => "tls-alpn-01",
        ChallengeType::Unknown(name) => name,
        _ => "another one",
    }
}
