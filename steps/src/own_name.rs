//! What a step calls its own things at a server or in a store: [`tag`], [`own_name`].

use drydock_step::Ctx;
use sha2::{Digest, Sha256};

use crate::rehash::hex;

/// So many hexadecimal digits, at most 64, the same for every attempt of a step, and for no other step and no other run.
pub fn tag(ctx: &Ctx, digits: usize) -> String {
    let hash = hex(&Sha256::digest(format!("{}/{}", ctx.run, ctx.step)));
    hash.chars().take(digits).collect()
}

/// A name that is nobody else's: `drydock_` and 16 digits.
pub fn own_name(ctx: &Ctx) -> String {
    format!("drydock_{}", tag(ctx, 16))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::test_host::TestHost;

    use super::*;

    #[test]
    fn a_name_is_the_same_for_each_attempt_of_a_step_and_no_others() {
        let of = |attempt: &str| own_name(&Arc::new(TestHost::new("/").attempt(attempt)).ctx(None));
        assert_eq!(of("r1/load/1"), of("r1/load/2"));
        let others = [of("r1/load/1"), of("r1/load[a]/1"), of("r1/other/1"), of("r2/load/1")];
        assert_eq!(others.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "{others:?}");
        assert_eq!(others[0].len(), 24);
    }
}
