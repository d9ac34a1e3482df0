//! A hash that is taken up from any bytes whatever goes on or is refused, but does not fall over;
//! and what was taken up is saved as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Algorithm, Digester};

/// The lengths of the two states: with bytes of other lengths only the refusal would be tested.
const STATES: [(Algorithm, usize); 2] = [(Algorithm::Sha256, 104), (Algorithm::Sha512, 208)];

fuzz_target!(|input: &[u8]| {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let _ = Digester::resume(algorithm, input);
    }
    for (algorithm, len) in STATES {
        let Some((state, content)) = input.split_at_checked(len) else { continue };
        let Some(mut digester) = Digester::resume(algorithm, state) else { continue };
        assert_eq!(digester.save(), state);
        assert_eq!(digester.algorithm(), algorithm);
        let mut in_two = digester.clone();
        digester.update(content);
        let (first, second) = content.split_at(content.len() / 2);
        in_two.update(first);
        // A state at the limit of what may be taken up is beyond it with the next block.
        let Some(mut in_two) = Digester::resume(algorithm, &in_two.save()) else { continue };
        in_two.update(second);
        assert_eq!(in_two.finish(), digester.finish());
    }
});
