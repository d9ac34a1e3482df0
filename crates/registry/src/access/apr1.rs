//! `$apr1$`: the MD5 scheme of Apache's `htpasswd -m`, for existing htpasswd files.
//!
//! A thousand rounds of MD5, like the MD5 crypt of BSD with another magic string. See the Apache HTTP
//! Server's documentation, "Password Formats".

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

pub(super) const MAGIC: &str = "$apr1$";
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const MAX_SALT: usize = 8;
const HASH: usize = 22;

pub(super) fn is_well_formed(hash: &str) -> bool {
    parts(hash).is_some()
}

/// Whether the password matches the hash.
pub(super) fn verify(hash: &str, password: &[u8]) -> bool {
    parts(hash).is_some_and(|(salt, expected)| {
        bool::from(encode(&digest(password, salt.as_bytes())).as_bytes().ct_eq(expected.as_bytes()))
    })
}

/// Splits `$apr1$salt$hash` into salt and hash.
fn parts(hash: &str) -> Option<(&str, &str)> {
    let (salt, hash) = hash.strip_prefix(MAGIC)?.split_once('$')?;
    let is_whole = !salt.is_empty()
        && salt.len() <= MAX_SALT
        && hash.len() == HASH
        && hash.bytes().all(|byte| ALPHABET.contains(&byte));
    is_whole.then_some((salt, hash))
}

fn digest(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize().into();
    let mut outer = Md5::new().chain_update(password).chain_update(MAGIC).chain_update(salt);
    for block in password.chunks(16) {
        outer.update(&inner[..block.len()]);
    }
    let mut length = password.len();
    while length > 0 {
        // The scheme uses the first byte here, not the last.
        outer.update(if length & 1 == 1 { &[0][..] } else { &password[..1] });
        length >>= 1;
    }
    let mut hash: [u8; 16] = outer.finalize().into();
    for round in 0..1000 {
        let mut next = Md5::new();
        if round % 2 == 1 {
            next.update(password);
        } else {
            next.update(hash);
        }
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        if round % 2 == 1 {
            next.update(hash);
        } else {
            next.update(password);
        }
        hash = next.finalize().into();
    }
    hash
}

/// Its own order of bytes, six bits a character, the lowest first.
fn encode(hash: &[u8; 16]) -> String {
    let groups = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut text = String::with_capacity(HASH);
    let mut push = |mut value: u32, characters: usize| {
        for _ in 0..characters {
            text.push(char::from(ALPHABET[(value & 0x3f) as usize]));
            value >>= 6;
        }
    };
    for [high, middle, low] in groups {
        push(u32::from(hash[high]) << 16 | u32::from(hash[middle]) << 8 | u32::from(hash[low]), 4);
    }
    push(u32::from(hash[11]), 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with htpasswd 2.4 (`htpasswd -nbm user PASSWORD`).
    const VECTORS: &[(&str, &str)] = &[
        ("secret", "$apr1$XgwFEC8l$GOqbkMss5uES/sd2kyDbh1"),
        ("a", "$apr1$Fva6gzq.$/sce9Kc/wmErAL5FQIJvC."),
        ("", "$apr1$09mhClGd$702c.T1.hSERzFgXxsdiG."),
        ("exactly16letters", "$apr1$LWOY2Tuy$ovhtNzfki/f0AxBDvHJFd1"),
        ("exactly 17 letter", "$apr1$eFLX2GR9$xsxikrlIiNqdZ1YGiB6.F0"),
        ("correct horse battery staple and some more", "$apr1$Lgxkwd2b$kimZm5zyJm.PClIdjw.Qv1"),
        ("pässwörd", "$apr1$HAGDbWVB$CFiLvf1wwPjPuy519Jg/3."),
        (
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "$apr1$FCQN/xJK$zDYbp8lFBVtJuHjPPzd6U/",
        ),
    ];

    #[test]
    fn htpasswd_hashes_match_their_password() {
        for (password, hash) in VECTORS {
            assert!(verify(hash, password.as_bytes()), "{password:?}");
            assert!(!verify(hash, format!("{password}x").as_bytes()), "{password:?}");
            assert!(!verify(hash, b"other"), "{password:?}");
        }
    }

    #[test]
    fn malformed_hash_matches_nothing() {
        let (password, hash) = VECTORS[0];
        let short = &hash[..hash.len() - 1];
        let strange = format!("{short}!");
        let other = hash.replace("$apr1$", "$1$");
        for wrong in ["", "$apr1$", "$apr1$$", "$apr1$salt", short, &strange, &other, "$apr1$saltsalts$abc"] {
            assert!(!is_well_formed(wrong), "{wrong}");
            assert!(!verify(wrong, password.as_bytes()), "{wrong}");
        }
    }
}
